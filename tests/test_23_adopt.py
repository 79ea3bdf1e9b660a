"""What a removed device made before it heard of its removal: shown, adopted, or given up; and nothing else of it."""
import json

import pytest

from blazetest.cluster import is_connected
from blazetest.node import BIN
from blazetest.terminal import Terminal
from blazetest.wait import eventually


@pytest.fixture
def three(clusters):
    return clusters(3)


def adoptable(node):
    return {d['device']: d['changes'] for d in node.status()['adoptable']}


def removed_offline(three):
    """c works while nobody hears it, is removed, and comes by once."""
    a, b, c = three.nodes
    a.write('notes.txt', 'one\n')
    a.write('dir/shared.json', '{"n":1}')
    three.synced()
    three.cut(c)
    c.write('dir/shared.json', '{"n":2}')
    c.write('dir/offline.json', '{"made":"offline"}')
    c.write('notes.txt', 'one\ntwo\n')
    a.run('devices', 'remove', 'device-c', a.database)
    three.synced(a, b)
    three.restore(c)
    eventually(lambda: adoptable(a).get('device-c'), 20, 'it has handed in what it made')
    return a, b, c


def test_offline_work_is_shown_and_adopted(three):
    a, b, c = removed_offline(three)
    assert a.text('dir/shared.json') == '{"n":1}' and not a.exists('dir/offline.json')
    eventually(lambda: adoptable(b) == adoptable(a), 10, 'it is passed on, so that it can be decided anywhere')
    done = a.run('devices', a.database)
    assert 'blaze devices adopt device-c' in done.stdout
    assert 'blaze devices adopt device-c' in a.run('status', '--check', a.database, code=3).stdout
    for node in (a, b):
        eventually(lambda n=node: n.status()['state'] == 'synced', 10, 'what is kept is nothing that is lacking')
    listed = {f['path']: f for f in a.json('devices', 'adopt', 'device-c', '--json', a.database)['files']}
    assert set(listed) == {'notes.txt', 'dir/shared.json', 'dir/offline.json'}
    assert listed['dir/offline.json']['what'] == 'new' and listed['notes.txt']['what'] == 'changed'
    shown = a.run('devices', 'adopt', 'device-c', a.database, code=3)
    assert 'dir/offline.json' in shown.stdout and '--yes' in shown.stderr and not a.exists('dir/offline.json')
    assert 'Adopted' in a.run('devices', 'adopt', 'device-c', '--yes', a.database).stdout
    for node in (a, b):
        eventually(lambda n=node: n.exists('dir/offline.json'), 10)
        eventually(lambda n=node: n.text('notes.txt') == 'one\ntwo\n' and n.text('dir/shared.json') == '{"n":2}', 10)
        eventually(lambda n=node: not adoptable(n), 10)
    three.synced(a, b)
    c.write('late.json', '{}')
    three.remount_hub()
    a.write('more.json', '{}')
    three.synced(a, b)
    assert not adoptable(a) and not a.exists('late.json') and not is_connected(c) and not c.exists('more.json')
    assert 'nothing of b1:device-c-' in a.run('devices', 'adopt', 'device-c', a.database).stdout


def test_it_survives_restarts_and_can_be_given_up(three):
    a, b, _ = removed_offline(three)
    count = adoptable(a)['device-c']
    three.remount_hub()
    assert adoptable(a)['device-c'] == count
    assert 'Given up' in a.run('devices', 'adopt', 'device-c', '--discard', '--yes', a.database).stdout
    assert not adoptable(a)
    a.write('more.json', '{}')
    three.synced(a, b)
    assert not adoptable(a) and not a.exists('dir/offline.json')
    b.run('devices', 'adopt', 'device-c', '--yes', b.database)
    eventually(lambda: a.exists('dir/offline.json'), 10, 'another one has decided otherwise')
    three.synced(a, b)


@pytest.mark.parametrize('answer', ['n', 'y'])
def test_it_is_confirmed_on_a_terminal(three, answer):
    a, b, _ = removed_offline(three)
    with Terminal([BIN, 'devices', 'adopt', 'device-c', a.database], a.directory, a.env) as t:
        t.expect('dir/offline.json').expect('[y/N]').type(answer + '\n')
        assert t.ended() == (0 if answer == 'y' else 1)
    assert a.exists('dir/offline.json') == (answer == 'y')
    assert bool(adoptable(a)) == (answer == 'n')
    three.synced(a, b)


def test_large_files_are_fetched_when_they_are_adopted(three):
    a, b, c = three.nodes
    content = bytes(range(256)) * 4000
    a.write('small.json', '{}')
    three.synced()
    three.cut(c)
    c.path('film.bin').write_bytes(content)
    a.run('devices', 'remove', 'device-c', a.database)
    three.synced(a, b)
    three.restore(c)
    eventually(lambda: adoptable(a), 20)
    assert any(f['large'] and f['bytes'] == len(content)
               for f in a.json('devices', 'adopt', 'device-c', '--json', a.database)['files'])
    a.run('devices', 'adopt', 'device-c', '--yes', a.database)
    for node in (a, b):
        eventually(lambda n=node: n.exists('film.bin') and n.read('film.bin') == content, 60)
    three.synced(a, b)


@pytest.mark.parametrize('args, code', [(['adopt'], 2), (['adopt', 'nobody'], 1), (['adopt', 'device-b', '--discard'], 1),
                                        (['--discard'], 2)])
def test_what_cannot_be_adopted_is_said(pair, args, code):
    a, _ = pair.nodes
    done = a.run('devices', *args, *([a.database] if len(args) > 1 else []), code=code)
    assert done.stderr.startswith('blaze: devices: ') and done.stderr.count('\n') == 1


def test_json_of_nothing(pair):
    a, _ = pair.nodes
    assert json.loads(a.run('devices', 'adopt', 'device-b', '--json', a.database).stdout)['files'] == []


def test_a_folder_brings_it(three, directory):
    """The removed device meets nobody any more; a stick goes from one to the other."""
    a, b, c = three.nodes
    stick = directory / 'stick'
    stick.mkdir()
    a.write('shared.json', '{"n":1}')
    three.synced()
    three.cut(c)
    c.write('offline.json', '{"made":"offline"}')
    a.run('devices', 'remove', 'device-c', a.database)
    three.synced(a, b)
    c.run('relay', 'add', f'folder:{stick}', c.database)
    eventually(lambda: list(stick.rglob('*.blz')), 20, 'it has written to the folder')
    a.run('relay', 'add', f'folder:{stick}', a.database)
    eventually(lambda: adoptable(a).get('device-c'), 30, 'the folder has brought it')
    a.run('devices', 'adopt', 'device-c', '--yes', a.database)
    eventually(lambda: b.exists('offline.json'), 10)
    three.synced(a, b)
