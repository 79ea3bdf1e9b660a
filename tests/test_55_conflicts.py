"""Settling conflicts: with blaze conflicts, with rm and mv in .blaze/conflicts/; the same on every device."""
import json

import pytest

from blazetest.wait import eventually

RECORD = '{\n  "title": "Crash",\n  "status": "open",\n  "priority": 2\n}\n'
LOST = '.blaze/conflicts'


def fields(pair):
    return pair.edit_apart('r.json', RECORD, RECORD.replace('2', '3').replace('open', 'closed'),
                           RECORD.replace('2', '4').replace('open', 'done'))


def binaries(pair):
    return pair.edit_apart('b.bin', b'\0base', b'\0from a', b'\0from b')


def conflicts(node):
    return [json.loads(line) for line in node.run('conflicts', '--json', cwd=node.mnt).stdout.splitlines()]


def settled(pair, path):
    pair.synced()
    a, b = pair.nodes
    assert a.read(path) == b.read(path)
    for node in (a, b):
        eventually(lambda n=node: conflicts(n) == [])
        assert node.names(LOST) == []


def test_none_are_said_to_be_none(node):
    node.write('a.txt', 'x')
    assert node.run('conflicts', cwd=node.mnt).stdout == 'No conflicts.\n'
    node.run('conflicts', '--check', cwd=node.mnt)
    assert len(node.run('conflicts', 'keep', node.path('a.txt'), code=1).stderr.splitlines()) == 1
    assert 'nope is no record of work' in node.run('conflicts', node.path('nope'), code=1).stderr


def test_list_says_who_when_and_what(pair):
    a, b = fields(pair)
    assert a.run('conflicts', '--check', cwd=a.mnt, code=3).stdout.startswith('r.json\n')
    shown = json.loads(a.text('r.json'))
    for node in (a, b):
        found = conflicts(node)
        assert [f['field'] for f in found] == ['status', 'priority'] and [f['number'] for f in found] == [1, 2]
        assert [f['in_use'] for f in found] == [shown['status'], shown['priority']]
        assert {found[1]['value'], found[1]['in_use']} == {3, 4}
        assert {found[0]['author'], found[0]['in_use_author']} == {'device-a', 'device-b'}
    assert a.run('conflicts', cwd=a.mnt).stdout.splitlines()[0] == 'r.json'
    assert conflicts(a) == conflicts(b)


def test_keep_settles_what_is_shown(pair):
    a, b = fields(pair)
    before = a.read('r.json')
    assert 'kept as it is' in b.run('conflicts', 'keep', b.path('r.json')).stdout
    settled(pair, 'r.json')
    assert a.read('r.json') == before
    assert a.log('r.json')[-1]['summary'] == 'conflict settled'
    assert a.log('r.json')[-1]['program'] == 'blaze conflict'


def test_keep_of_one_leaves_the_other(pair):
    a, b = fields(pair)
    a.run('conflicts', 'keep', a.path('r.json'), '1')
    pair.synced()
    assert [f['field'] for f in conflicts(b)] == ['priority']


def test_use_takes_the_other_field(pair):
    a, b = fields(pair)
    shown = json.loads(a.text('r.json'))
    other = conflicts(a)[1]['value']
    assert '→' in a.run('conflicts', 'use', '2', a.path('r.json')).stdout
    pair.synced()
    assert json.loads(b.text('r.json')) == {**shown, 'priority': other}
    assert [f['field'] for f in conflicts(b)] == ['status']
    a.run('undo', a.path('r.json'))
    pair.synced()
    assert json.loads(b.text('r.json')) == shown


@pytest.mark.parametrize('order', [['use', 'DEVICE', 'PATH'], ['use', '1', 'PATH'], ['PATH', 'use', '1']])
def test_use_of_a_whole_file(pair, order):
    a, b = binaries(pair)
    found = conflicts(a)[0]
    other = {'device-a': b'\0from a', 'device-b': b'\0from b'}[found['author']]
    assert a.read('b.bin') != other and found['whole'] and found['size'] == 7
    a.run('conflicts', *[{'DEVICE': found['author'], 'PATH': a.path('b.bin')}.get(word, word) for word in order])
    settled(pair, 'b.bin')
    assert b.read('b.bin') == other


def test_removing_the_file_keeps_what_is_shown(pair):
    a, b = binaries(pair)
    before, name = a.read('b.bin'), a.names(LOST)[0]
    a.sh(f'rm {LOST}/{name}')
    settled(pair, 'b.bin')
    assert b.read('b.bin') == before
    a.sh('! rm .blaze/status && ! rm .blaze/README')


def test_removing_the_fields_keeps_all_of_them(pair):
    a, b = fields(pair)
    before = a.read('r.json')
    b.sh(f'rm {LOST}/r.json@fields')
    settled(pair, 'r.json')
    assert a.read('r.json') == before


def test_moving_the_file_over_the_record_uses_it(pair):
    a, b = binaries(pair)
    name = a.names(LOST)[0]
    other = a.read(f'{LOST}/{name}')
    a.sh(f'mv -f {LOST}/{name} b.bin')
    settled(pair, 'b.bin')
    assert b.read('b.bin') == other


def test_one_of_several_fields_that_lost_to_one_save(pair):
    a, b = pair.nodes
    pair.cut()
    a.write('r.json', '{"x": 1, "y": {"z": 1}, "w": 1}')
    b.write('r.json', '{"x": 2, "y": {"z": 2}, "w": 2}')
    pair.restore()
    pair.synced()
    shown = json.loads(a.text('r.json'))['x']
    assert [f['field'] for f in conflicts(a)] == ['x', 'y.z', 'w']
    a.run('conflicts', 'use', '2', a.path('r.json'))
    b.run('conflicts', 'keep', b.path('r.json'), '1')
    pair.synced()
    assert json.loads(b.text('r.json')) == {'x': shown, 'y': {'z': 3 - shown}, 'w': shown}
    assert [f['field'] for f in conflicts(b)] == ['w']


def test_object_that_lost_against_a_value(pair):
    a, b = pair.edit_apart('r.json', '{"x":{"k":1}}', '{"x":{"k":2}}', '{"x":7}')
    shown = json.loads(a.text('r.json'))
    assert shown == json.loads(b.text('r.json')) and shown['x'] in (7, {'k': 2})
    found = conflicts(a)
    assert found
    a.run('conflicts', 'use', '1', a.path('r.json'))
    pair.synced()
    assert json.loads(b.text('r.json'))['x'] == ({'k': 2} if shown['x'] == 7 else 7)


@pytest.mark.parametrize('args', [['use', 'PATH'], ['drop', '1', 'PATH'], ['use', '1', 'PATH', 'more']])
def test_wrong_words_are_refused(pair, args):
    a, _ = binaries(pair)
    done = a.run('conflicts', *[a.path('b.bin') if w == 'PATH' else w for w in args], code=None)
    assert done.returncode in (2, 10) and len(done.stderr.splitlines()) == 1 and conflicts(a)


def test_a_number_that_is_none_is_refused(pair):
    a, _ = binaries(pair)
    for which in ('0', '2', 'nobody'):
        assert len(a.run('conflicts', 'use', which, a.path('b.bin'), code=1).stderr.splitlines()) == 1
    assert conflicts(a)
