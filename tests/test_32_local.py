"""Two apps of one user on one machine: they find each other, through a socket nobody else can use."""
import os
import socket
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from blazetest import Cluster, Node, eventually
from blazetest.cluster import Invitation, is_connected
from blazetest.wait import SCALE


@pytest.fixture
def runtime(directory):
    """What a session has as XDG_RUNTIME_DIR: short, for a socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix='run', dir=directory.parent) as path:
        yield Path(path)


@pytest.fixture
def apps(directory, runtime, request):
    """Two devices that have paired, and have no address any more: neither listens on a port."""
    a, b = made = [Node(directory, name) for name in 'ab']
    try:
        for node in made:
            node.env.update(BLAZE_LOCAL='1', XDG_RUNTIME_DIR=str(runtime))
        a.init().mount(listen='127.0.0.1:0')
        with Invitation(a) as invitation:
            b.run('pair', '--name', 'device-b', invitation.link)
            invitation.accepted()
        a.remount(listen='none')
        b.mount(listen='none')
        yield made
        if not getattr(request.node, 'blaze_failed', False):
            for node in made:
                node.close()
    finally:
        for node in made:
            node.discard()


def peer(node):
    return node.status()['peers'][0]


def sockets(runtime):
    return sorted((runtime / 'blaze' / 'net').glob('*.sock'))


def test_two_apps_sync_without_any_address(apps):
    a, b = apps
    assert not a.listen and not b.listen
    a.write('from-a.json', '{"n":1}')
    b.write('from-b.json', '{"n":2}')
    Cluster.synced(None, a, b)
    for node in apps:
        eventually(lambda n=node: peer(n)['path'] == 'local', 10)
        assert peer(node)['endpoint'].startswith('unix:/')
        assert ' local ' in node.run('status', node.database).stdout


def test_sockets_are_private_and_go_with_their_mounts(apps, runtime):
    eventually(lambda: is_connected(apps[0]), 10)
    found = sockets(runtime)
    assert len(found) == 2
    for path in found:
        st = path.lstat()
        assert stat.S_ISSOCK(st.st_mode) and stat.S_IMODE(st.st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    apps[0].stop()
    assert len(sockets(runtime)) == 1
    apps[1].stop()
    assert not sockets(runtime)


def test_socket_of_a_killed_app_is_taken_over(apps, runtime):
    a, b = apps
    eventually(lambda: is_connected(b), 10)
    a.kill9()
    assert len(sockets(runtime)) == 2
    b.write('meanwhile.json', '{"n":1}')
    a.mount(listen='none')
    Cluster.synced(None, a, b)
    assert len(sockets(runtime)) == 2


def test_app_that_stops_for_a_while_is_found_again(apps):
    a, b = apps
    eventually(lambda: is_connected(a), 10)
    b.stop()
    eventually(lambda: not is_connected(a), 10)
    a.write('meanwhile.json', '{"n":1}')
    b.mount(listen='none')
    Cluster.synced(None, a, b)
    assert b.text('meanwhile.json') == '{"n":1}'


def test_directory_others_could_write_to_is_not_used(directory, runtime, node):
    open_to_all = runtime / 'blaze'
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    node.env.update(BLAZE_LOCAL='1', XDG_RUNTIME_DIR=str(runtime))
    node.remount()
    assert not sockets(runtime)
    open_to_all.chmod(0o700)
    node.remount()
    assert len(sockets(runtime)) == 1


def test_turned_off_there_is_no_socket(runtime, node):
    node.env.update(BLAZE_LOCAL='0', XDG_RUNTIME_DIR=str(runtime))
    node.remount()
    assert not (runtime / 'blaze').exists()


@pytest.mark.root
def test_other_users_are_turned_away_even_where_modes_would_let_them_in(apps, runtime, directory):
    a, _ = apps
    a.allow(r'.*refused a connection: it is another user.*')
    path = min(sockets(runtime), key=lambda p: p.lstat().st_ino)
    for opened in (runtime, runtime / 'blaze', path.parent, path, directory, directory.parent):
        opened.chmod(0o777)
    script = ('import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(sys.argv[1]);'
              "s.sendall(b'GET /blaze/1 HTTP/1.1\\r\\n'); print(len(s.recv(100)))")
    done = subprocess.run(['setpriv', '--reuid=65534', '--clear-groups', '/usr/bin/python3', '-c', script, str(path)],
                          capture_output=True, text=True, timeout=60 * SCALE, check=False)
    assert done.stdout.strip() == '0' or 'ConnectionReset' in done.stderr or 'BrokenPipe' in done.stderr, done
    eventually(lambda: 'another user' in (directory / 'a' / 'daemon.log').read_text()
               + (directory / 'b' / 'daemon.log').read_text(), 10)


def test_stranger_of_the_same_user_is_no_member(apps, runtime):
    """The socket lets a program of this user in; only a member's key goes on from there."""
    a, b = apps
    for path in sockets(runtime):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20 * SCALE)
            s.connect(str(path))
            s.sendall(b'GET /blaze/1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                      b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n')
            assert b' 101 ' in s.recv(4096)
            s.sendall(b'\x82\xe0' + bytes(4) + os.urandom(96))
            try:
                while s.recv(4096):
                    pass
            except ConnectionError:
                pass
    a.write('goes-on.json', '{"n":1}')
    Cluster.synced(None, a, b)
