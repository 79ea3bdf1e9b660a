"""Members of a database, and the end of a membership."""
import errno
import json
import os
import re
from datetime import datetime, timezone

import pytest

from blazetest.cluster import Invitation, is_connected
from blazetest.faults import Fault
from blazetest.terminal import Terminal
from blazetest.node import BIN
from blazetest.wait import eventually


@pytest.fixture
def three(clusters):
    return clusters(3)


def devices(node):
    return {d['name']: d for d in node.json('devices', node.database, code=None)['devices']}


def test_members_are_listed(pair):
    a, b = pair.nodes
    for node in (a, b):
        known = devices(node)
        assert set(known) == {'device-a', 'device-b'}
        assert known[f'device-{node.name}']['own'] and not known['device-a']['removed']
        assert known['device-b']['admitted_by'] == 'device-a'
    assert 'device-b' in a.run('devices', a.database).stdout


def test_removed_device_gets_nothing_and_is_heard_no_more(three):
    a, b, c = three.nodes
    a.write('before.json', '{"n":1}')
    three.synced()
    assert 'Removed' in a.run('devices', 'remove', 'device-c', a.database).stdout
    eventually(lambda: not is_connected(c), 10, 'the removed device is hung up on')
    a.write('after.json', '{"n":2}')
    b.wait()
    c.write('intruder.json', '{"n":3}')
    c.write('before.json', '{"n":666}')
    eventually(lambda: b.exists('after.json'), 10)
    three.synced(a, b)
    for node in (a, b):
        assert not node.exists('intruder.json') and node.text('before.json') == '{"n":1}'
        assert devices(node)['device-c']['removed_by'] == 'device-a'
        assert [p['name'] for p in node.status()['peers']] == [f'device-{"b" if node is a else "a"}']
    assert not c.exists('after.json')
    a.wait()  # nobody waits for who is gone


def test_clock_a_year_ahead_is_flagged_and_not_followed(pair):
    a, b = pair.nodes
    clock = Fault(b, 'clock')
    clock.set(str(366 * 86400))
    b.remount()
    b.write('theirs.json', '{"n":1}')
    b.write('both.txt', 'from the other year')
    pair.synced()
    assert a.text('both.txt') == 'from the other year', 'it is taken all the same'
    assert devices(a)['device-b']['flags'] == ['clock'] and devices(a)['device-a']['flags'] == []
    assert re.search("! .*device-b-.*: its clock is ahead of this one's", a.run('devices', a.database).stdout)
    a.allow(r".*device-b-.*: its clock is ahead of this one's.*")
    a.write('own.json', '{"n":2}')
    a.write('both.txt', 'from today')
    pair.synced()
    assert a.log('own.json')[-1]['time'][:4] == str(datetime.now(timezone.utc).year), 'it spreads to nobody'
    assert [n.text('both.txt') for n in pair.nodes] == ['from today'] * 2, 'who has seen it comes after it'
    assert [n.text('own.json') for n in pair.nodes] == ['{"n":2}'] * 2


def test_removed_device_is_told(three):
    a, _, c = three.nodes
    a.run('devices', 'remove', 'device-c', a.database)
    eventually(lambda: 'removed' in c.status()['verdict'], 10, 'the removed device knows')
    assert c.run('devices', c.database, code=3).stdout.count('removed by device-a') == 1
    c.write('mine.json', '{}')
    assert c.exists('mine.json'), 'its own files are its own'


def test_removal_survives_a_restart_and_the_removed_device_is_refused(three):
    a, b, c = three.nodes
    a.run('devices', 'remove', 'device-c', a.database)
    three.synced(a, b)
    three.remount_hub()
    c.remount()
    three.retarget()
    a.write('later.json', '{}')
    three.synced(a, b)
    assert not is_connected(c) and not c.exists('later.json')
    assert devices(a)['device-c']['removed']


def test_new_device_gets_all_that_was_written_before_and_after_a_removal(three):
    a, b, c = three.nodes
    for i in range(20):
        a.write(f'{i}.json', '{"old":1}')
    three.synced()
    a.run('devices', 'remove', 'device-c', a.database)
    for i in range(20):
        a.write(f'{i}.json', '{"new":2}')
    three.synced(a, b)
    d = three.join(three._add(type(a)(a.directory.parent, 'd')))
    three.synced(a, b, d)
    assert d.text('7.json') == '{"new":2}'


@pytest.mark.parametrize('args, code', [(['remove'], 2), (['remove', 'nobody'], 1), (['one', 'two'], 2), (['remove', 'device-a'], 1)])
def test_what_cannot_be_removed_is_said(pair, args, code):
    a, _ = pair.nodes
    done = a.run('devices', *args, *([a.database] if args != ['one', 'two'] and len(args) > 1 else []), code=code)
    assert done.stderr.startswith('blaze: devices: ') and done.stderr.count('\n') == 1
    assert not any(d['removed'] for d in devices(a).values())


@pytest.mark.parametrize('answer', ['n', 'y'])
def test_removal_is_confirmed_on_a_terminal(pair, answer):
    a, _ = pair.nodes
    with Terminal([BIN, 'devices', 'remove', 'device-b', a.database], a.directory, a.env) as t:
        t.expect('[y/N]').type(answer + '\n')
        assert t.ended() == (0 if answer == 'y' else 1)
    assert devices(a)['device-b']['removed'] == (answer == 'y')


def test_json_is_one_object(pair):
    assert json.loads(pair.nodes[0].run('devices', '--json', pair.nodes[0].database).stdout)['v'] == 1


def refused(action):
    with pytest.raises(OSError) as e:
        action()
    return e.value.errno == errno.EROFS


def is_read_only(node):
    try:
        os.utime(node.mnt)
    except OSError as e:
        return e.errno == errno.EROFS
    return False


def test_reader_sees_all_and_changes_nothing(pair):
    a, b = pair.nodes
    a.write('dir/one.json', '{"n":1}')
    b.write('own.json', '{"n":1}')
    b.write('own.json', '{"n":2}')
    pair.synced()
    assert 'role read' in a.run('devices', 'role', 'device-b', 'read', a.database).stdout
    eventually(lambda: is_read_only(b), 10, 'the reader has heard')
    a.write('dir/one.json', '{"n":2}')
    eventually(lambda: b.text('dir/one.json') == '{"n":2}', 10, 'it goes on to get what others write')
    one, new = b.path('dir/one.json'), b.path('new.json')
    for what in (lambda: one.write_text('{}'), lambda: one.open('r+'), lambda: new.write_text('{}'), new.mkdir,
                 one.unlink, lambda: one.rename(new), lambda: one.chmod(0o700), lambda: new.symlink_to('x'),
                 lambda: new.hardlink_to(one), lambda: os.truncate(one, 0), lambda: os.utime(one),
                 lambda: os.setxattr(one, 'user.x', b'y')):
        assert refused(what)
    assert b.text('dir/one.json') == '{"n":2}' and b.names() == ['dir', 'own.json']
    assert 'Read-only' in b.run('undo', 'own.json', cwd=b.mnt, code=None).stderr
    assert a.text('dir/one.json') == '{"n":2}' and devices(a)['device-b']['role'] == 'read'
    a.run('devices', 'role', 'device-b', 'write', a.database)
    eventually(lambda: not is_read_only(b), 10, 'the right is back')
    b.write('dir/one.json', '{"n":3}')
    pair.synced()
    assert a.text('dir/one.json') == '{"n":3}'


def test_file_open_for_writing_cannot_be_written_any_more(pair):
    a, b = pair.nodes
    b.write('one.json', '{"n":1}')
    pair.synced()
    with open(b.path('one.json'), 'r+', encoding='utf-8', buffering=1) as f:
        a.run('devices', 'role', 'device-b', 'read', a.database)
        eventually(lambda: is_read_only(b), 10)
        assert refused(lambda: os.write(f.fileno(), b'{"n":666}'))
    pair.synced()
    assert a.text('one.json') == b.text('one.json') == '{"n":1}'


@pytest.mark.parametrize('role', ['read', 'write', 'manage', 'owner'])
def test_device_is_paired_with_a_role(node, directory, role):
    node.write('a.json', '{}')
    node.remount(listen='127.0.0.1:0')
    guest = type(node)(directory, 'guest')
    with Invitation(node, '--role', role) as invitation:
        guest.run('pair', '--name', 'guest', invitation.link)
        invitation.accepted()
    guest.mount()
    assert guest.names() == ['a.json'] and devices(node)['guest']['role'] == role
    assert is_read_only(guest) == (role == 'read')
    done = guest.run('pair', '--timeout', '100ms', guest.database, code=None)
    assert (done.returncode == 1 and 'may not let others in' in done.stderr) == (role in ('read', 'write'))
    done = guest.run('devices', 'remove', next(n for n in devices(guest) if n != 'guest'), guest.database, code=None)
    assert (done.returncode == 1 and 'may not remove' in done.stderr) == (role in ('read', 'write'))
    guest.close()


@pytest.mark.parametrize('args, code', [(['role'], 2), (['role', 'device-b'], 2), (['role', 'device-b', 'king'], 2),
                                        (['role', 'nobody', 'read'], 1), (['role', 'device-a', 'read'], 1),
                                        (['role', 'device-b', 'relay'], 2), (['--words'], 2)])
def test_role_that_cannot_be_given_is_said(pair, args, code):
    a, _ = pair.nodes
    done = a.run('devices', *args, *([a.database] if len(args) > 2 else []), code=code)
    assert done.stderr.startswith('blaze: devices: ') and done.stderr.count('\n') == 1
    assert {d['role'] for d in devices(a).values()} == {'owner'}


def test_who_came_later_takes_no_right_from_who_came_before(pair):
    _, b = pair.nodes
    assert 'longer than this one' in b.run('devices', 'role', 'device-a', 'read', b.database, code=1).stderr
