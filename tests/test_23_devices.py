"""Members of a database, and the end of a membership."""
import json

import pytest

from blazetest.cluster import is_connected
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
