"""Devices find each other on the local network by DNS-SD, and nobody else finds out who they are."""
import shutil
import socket
import subprocess

import pytest

from blazetest import Node, eventually
from blazetest.avahi import Avahi
from blazetest.cluster import Invitation, is_connected
from blazetest.namespace import Namespaces, inside
from blazetest.relay import Relay, wait_idle
from blazetest.wait import now

NONE = 'nobody is looked for on the local network'

lan_only = [pytest.mark.root, pytest.mark.timeout(180),
            pytest.mark.skipif(not shutil.which('avahi-daemon') or not shutil.which('dbus-daemon'),
                               reason='needs avahi-daemon and dbus-daemon')]


def log_of(node):
    return (node.directory / 'daemon.log').read_text()


@pytest.fixture
def lan(directory, request):
    """Two machines on one cable, each with an avahi-daemon; lan.node(0, 'a') is a device on the first."""
    with Namespaces() as net:
        for pid in net.pids:  # as a network has that hands out addresses
            inside(pid, 'ip', 'route', 'add', '224.0.0.0/4', 'dev', 'cable0')
        net.avahis = [Avahi(directory, name, pid) for name, pid in zip(('one', 'two'), net.pids)]
        net.nodes = []

        def node(at, name):
            made = Node(directory, name, netns=net.pids[at])
            made.env.update(net.avahis[at].env)
            net.nodes.append(made)
            return made

        net.node = node
        try:
            for avahi in net.avahis:
                avahi.start()
            yield net
            if not getattr(request.node, 'blaze_failed', False):
                for made in net.nodes:
                    made.close()
        finally:
            for made in net.nodes:
                made.discard()
            for avahi in net.avahis:
                avahi.stop()


@pytest.fixture
def paired(lan):
    """a listens, b does not; b found a by its code alone."""
    a = lan.node(0, 'a').init().mount(listen='0.0.0.0:0')
    b = lan.node(1, 'b')
    with Invitation(a) as invitation:
        b.run('pair', '--name', 'device-b', invitation.code)
        invitation.accepted()
    b.mount()
    eventually(lambda: is_connected(b), 20)
    return a, b


def apply(marks):
    def decorate(test):
        for mark in marks:
            test = mark(test)
        return test
    return decorate


@apply(lan_only)
def test_code_is_found_and_device_that_moved_too(lan, paired):
    a, b = paired
    a.write('first.json', '{"n":1}')
    eventually(lambda: b.exists('first.json'), 20)
    a.stop()
    inside(lan.pids[0], 'ip', 'address', 'flush', 'dev', 'cable0')
    inside(lan.pids[0], 'ip', 'address', 'add', '10.99.0.77/24', 'dev', 'cable0')
    inside(lan.pids[0], 'ip', 'route', 'replace', '224.0.0.0/4', 'dev', 'cable0')
    a.mount(listen='0.0.0.0:0')
    # b does not listen, and nobody told it the new address but the network.
    eventually(lambda: is_connected(b), 40)
    b.write('back.json', '{"n":2}')
    eventually(lambda: a.exists('back.json'), 20)
    assert b.json('topology')['links'][0]['path'] == 'direct'


@apply(lan_only)
def test_strangers_learn_nothing_and_are_left_alone(lan, paired, directory):
    """On the wire there is no name of a device or database; who is no member dials nobody."""
    a, b = paired
    a.stop()
    capture = directory / 'capture'
    tcpdump = subprocess.Popen(['nsenter', f'--net=/proc/{lan.pids[1]}/ns/net', '--', 'tcpdump', '-U', '-i', 'cable0', '-w', capture,
                                'udp', 'port', '5353'], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        tcpdump.stderr.readline()  # it listens
        stranger = lan.node(1, 'stranger')
        stranger.env['BLAZE_LOG'] = 'debug'
        stranger.run('init', '--name', 'device-a', 'work')  # the same names, another database
        stranger.mount(listen='0.0.0.0:0')
        friend = lan.node(1, 'friend')
        with Invitation(stranger) as invitation:  # whom it looks for, and who is not there
            friend.run('pair', '--name', 'friend', invitation.link)
            invitation.accepted()
        b.remount(env={'BLAZE_LOG': 'debug'})
        a.mount(listen='0.0.0.0:0')
        eventually(lambda: is_connected(b), 40)
        eventually(lambda: 'device-a is on the local network' in log_of(b), 20)
        eventually(lambda: b'_blaze' in capture.read_bytes(), 20)
    finally:
        tcpdump.terminate()
        tcpdump.wait()
        tcpdump.stderr.close()
    seen = capture.read_bytes()
    for word in (b'device-', b'work', b'friend'):
        assert word not in seen, word
    assert 'is on the local network' not in log_of(stranger) and not is_connected(stranger)


@apply(lan_only)
def test_daemon_that_goes_away_and_comes_back(lan, paired):
    a, b = paired
    for avahi in lan.avahis:
        avahi.kill_daemon()
    a.write('r.json', '{}')
    eventually(lambda: b.exists('r.json'), 20)
    eventually(lambda: NONE in log_of(a) and NONE in log_of(b), 20)
    lan.avahis[1].stop()  # and the bus with it
    b.write('s.json', '{}')
    eventually(lambda: a.exists('s.json'), 20)
    for node in (a, b):
        node.stop()
        assert log_of(node).count(NONE) == 1, 'one line, however often it is tried'


@apply(lan_only)
def test_code_of_a_relay_that_is_away(lan, directory):
    """Nothing was spent there: the local network is asked."""
    a, b = lan.node(0, 'a').init().mount(listen='0.0.0.0:0'), lan.node(1, 'b')
    relay = Relay(directory, netns=lan.pids[0], listen='10.99.0.1:0').start()
    try:
        a.run('relay', 'add', relay.address, a.database)
        wait_idle(a)
        with Invitation(a) as invitation:
            assert invitation.code.endswith('@' + relay.listen)
            relay.kill9()
            said = b.run('pair', '--name', 'device-b', invitation.code).stdout
            invitation.accepted()
        assert f'Found device-a at {a.listen.replace("0.0.0.0", "10.99.0.1")}' in said
    finally:
        relay.kill9()


@apply(lan_only)
def test_code_that_nobody_waits_for(lan):
    b = lan.node(1, 'b')
    said = b.run('pair', '--name', 'device-b', '77-orbit-walnut', code=None)
    assert said.returncode != 0 and 'nor on the local network' in said.stderr


# ---- without DNS-SD, as in a container ---------------------------------------------------------------


@pytest.fixture
def bus(directory):
    """A D-Bus that takes connections and never answers."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directory / 'deaf'))
    listener.listen(64)
    yield f'unix:path={directory}/deaf'
    listener.close()


def test_bus_that_never_answers_delays_nothing(device, bus):
    device.env.update(BLAZE_DNSSD='1', DBUS_SYSTEM_BUS_ADDRESS=bus)
    device.init()
    start = now()
    device.mount(listen='127.0.0.1:0')
    device.write('r.json', '{}')
    device.umount()
    assert now() - start < 20, 'D-Bus alone waits for 25 s'


def test_no_bus(device, directory):
    device.env.update(BLAZE_DNSSD='1', DBUS_SYSTEM_BUS_ADDRESS=f'unix:path={directory}/none')
    device.init().mount(listen='127.0.0.1:0')
    eventually(lambda: NONE in log_of(device))
    with Invitation(device) as invitation:
        assert invitation.code
    device.stop()
    assert log_of(device).count(NONE) == 1


def test_it_can_be_turned_off(device, directory):
    device.env.update(BLAZE_DNSSD='0', DBUS_SYSTEM_BUS_ADDRESS=f'unix:path={directory}/none')
    device.init().mount(listen='127.0.0.1:0')
    assert NONE not in log_of(device)
    with open(f'/proc/{device.process.pid}/maps', encoding='utf-8') as maps:
        assert 'libdns_sd' not in maps.read(), 'who does not use it does not pay for it'


def test_code_without_dnssd_is_answered_at_once(device, directory):
    device.env.update(BLAZE_DNSSD='1', DBUS_SYSTEM_BUS_ADDRESS=f'unix:path={directory}/none')
    said = device.run('pair', '--name', 'd', '77-orbit-walnut', code=None)
    assert 'nor on the local network' in said.stderr and said.stderr.count('\n') == 1
