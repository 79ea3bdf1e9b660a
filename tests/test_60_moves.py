"""Records moved to another collection: their history goes on, and so do changes that others make meanwhile."""
import os
import threading

import pytest

from blazetest.echo import Paused
from blazetest.wait import eventually

LINES = ''.join(f'line {n}\n' for n in range(20))


def apart(pair, before, *acts):
    """Each device does its part while it sees nobody."""
    a, b = pair.nodes
    for path, data in before.items():
        a.write(path, data)
    a.path('new').mkdir(exist_ok=True)
    a.write('new/other.txt', '')
    pair.synced()
    pair.cut()
    for node, act in zip(pair.nodes, acts):
        act(node)
        eventually(lambda n=node: n.status()['held'] == 0)
    pair.restore()
    pair.synced()
    return a, b


def same(pair, check):
    """What holds on both devices before long."""
    for node in pair.nodes:
        eventually(lambda n=node: check(n))
    pair.synced()
    a, b = pair.nodes
    assert a.tree_hash() == b.tree_hash()


def losers(node):
    """Paths of the values that lost."""
    return [f'.blaze/conflicts/{p}' for p in node.tree('.blaze/conflicts') if '@' in p]


def move(source, target):
    return lambda n: n.path(source).rename(n.path(target))


def test_text_edited_elsewhere_is_edited_where_it_was_moved(pair):
    apart(pair, {'old/a.txt': LINES}, move('old/a.txt', 'new/a.txt'),
          lambda n: n.write('old/a.txt', LINES.replace('line 3\n', 'line 3, edited\n')))
    same(pair, lambda n: n.text('new/a.txt') == LINES.replace('line 3\n', 'line 3, edited\n')
         and not n.exists('old/a.txt'))


def test_both_edits_are_there_when_it_was_edited_after_the_move_too(pair):
    def move_and_edit(n):
        move('old/a.txt', 'new/b.txt')(n)
        n.write('new/b.txt', LINES.replace('line 15\n', 'fifteen\n'))
    apart(pair, {'old/a.txt': LINES}, move_and_edit,
          lambda n: n.write('old/a.txt', LINES.replace('line 3\n', 'three\n')))
    want = LINES.replace('line 15\n', 'fifteen\n').replace('line 3\n', 'three\n')
    same(pair, lambda n: n.text('new/b.txt') == want and not n.exists('old/a.txt'))


def test_json_fields_meet_in_a_moved_directory(pair):
    record = '{\n  "a": 1,\n  "b": 2\n}\n'

    def move_and_edit(n):
        move('old/d', 'new/d')(n)
        n.write('new/d/e/r.json', record.replace('1', '10'))
    apart(pair, {'old/d/e/r.json': record, 'old/d/e/s.json': record}, move_and_edit,
          lambda n: n.write('old/d/e/r.json', record.replace('2', '20')))
    want = record.replace('1', '10').replace('2', '20')
    same(pair, lambda n: n.exists('new/d/e/r.json') and n.text('new/d/e/r.json') == want and not n.exists('old/d'))


def test_edit_of_bytes_in_conflict_with_one_after_the_move_is_listed(pair):
    def move_and_edit(n):
        move('old/a.bin', 'new/a.bin')(n)
        n.write('new/a.bin', b'\0moved')
    apart(pair, {'old/a.bin': b'\0base'}, move_and_edit, lambda n: n.write('old/a.bin', b'\0edited'))

    def both(n):
        kept = {n.read(p) for p in ['new/a.bin'] + losers(n)}
        return not n.exists('old/a.bin') and kept == {b'\0moved', b'\0edited'}
    same(pair, both)


def test_several_edits_come_over_one_after_the_other(pair):
    a, b = apart(pair, {'old/a.txt': LINES}, move('old/a.txt', 'new/a.txt'),
                 lambda n: n.write('old/a.txt', LINES.replace('line 3\n', 'three\n')))
    same(pair, lambda n: not n.exists('old/a.txt'))
    pair.cut()
    a.write('new/a.txt', a.text('new/a.txt').replace('line 9\n', 'nine\n'))
    pair.restore()
    pair.synced()
    assert b.text('new/a.txt') == LINES.replace('line 3\n', 'three\n').replace('line 9\n', 'nine\n')


def test_who_brings_back_a_moved_file_has_it_beside_the_moved_one(pair):
    a, b = apart(pair, {'old/a.txt': LINES}, move('old/a.txt', 'new/a.txt'), lambda n: None)
    b.write('old/a.txt', 'made again\n')
    pair.synced()
    same(pair, lambda n: n.text('old/a.txt') == 'made again\n' and n.text('new/a.txt') == LINES)


def test_moved_there_and_back_is_what_it_was(pair):
    a, b = apart(pair, {'old/a.txt': LINES}, lambda n: [move('old/a.txt', 'new/a.txt')(n), move('new/a.txt', 'old/a.txt')(n)],
                 lambda n: n.write('old/a.txt', LINES.replace('line 3\n', 'three\n')))
    same(pair, lambda n: n.text('old/a.txt') == LINES.replace('line 3\n', 'three\n') and not n.exists('new/a.txt'))


def log(node, path):
    return [e['summary'] for e in reversed(node.log(path))]


def test_history_goes_on_across_the_move(node):
    node.write('old/a.json', '{"n": 1}\n')
    node.write('old/a.json', '{"n": 2}\n')
    node.path('new').mkdir()
    move('old/a.json', 'new/b.json')(node)
    node.write('new/b.json', '{"n": 3}\n')
    assert log(node, 'new/b.json') == ['n 2 → 3', 'moved from old/a.json', 'n 1 → 2',
                                       'created, 9 bytes']
    versions = [node.text(f'.blaze/history/new/b.json/{v}') for v in node.names('.blaze/history/new/b.json')]
    assert versions == ['{"n": 1}\n', '{"n": 2}\n', '{"n": 2}\n', '{"n": 3}\n']
    assert node.names('.blaze/deleted') == [] or 'a.json' not in node.names('.blaze/deleted/old')
    first = node.log('new/b.json')[0]['rev']
    assert '1' in node.run('diff', 'new/b.json', '--rev', first, cwd=node.mnt).stdout
    node.run('restore', 'new/b.json', '--rev', first, cwd=node.mnt)
    assert node.text('new/b.json') == '{"n": 1}\n'


def test_history_of_a_moved_directory_and_all_in_it_goes_on(node):
    node.write('old/d/e/a.txt', '1\n')
    node.write('old/d/e/a.txt', '1\n2\n')
    node.path('new').mkdir()
    move('old/d', 'new/d')(node)
    eventually(lambda: node.status()['held'] == 0 and len(log(node, 'new/d/e/a.txt')) == 3)
    assert log(node, 'new/d/e/a.txt')[0] == 'moved from old/d/e/a.txt'
    whole = {(e['path'], e['summary']) for e in node.log('new/d')}
    assert {('old/d/e/a.txt', '+1 -0 line'), ('new/d/e/a.txt', 'moved from old/d/e/a.txt')} <= whole, whole
    assert not node.exists('.blaze/deleted/old/d')


def test_move_to_another_collection_is_undone_at_once(node):
    node.write('old/a.txt', LINES)
    node.path('new').mkdir()
    move('old/a.txt', 'new/b.txt')(node)
    eventually(lambda: node.status()['held'] == 0)
    node.run('undo', cwd=node.mnt)
    assert node.text('old/a.txt') == LINES and not node.exists('new/b.txt')


def test_undo_ends_when_programs_see_that_a_name_is_gone(node):
    node.write('old/a.txt', LINES)
    node.path('new').mkdir()
    move('old/a.txt', 'new/b.txt')(node)
    eventually(lambda: node.status()['held'] == 0)
    assert node.exists('new/b.txt')
    before = len(node.log('old'))
    with Paused(node):
        undo = threading.Thread(target=node.run, args=('undo',), kwargs={'cwd': node.mnt})
        undo.start()
        eventually(lambda: len(node.log('old')) > before)
        for _ in range(5):  # commands that have nothing to wait for
            node.status()
        assert undo.is_alive()
    undo.join()
    assert node.text('old/a.txt') == LINES and not node.exists('new/b.txt')


@pytest.mark.parametrize('what', ['a.txt', 'd'])
def test_what_was_deleted_can_be_brought_back_elsewhere(node, what):
    node.write('old/a.txt', LINES)
    node.write('old/d/e/b.bin', b'\0b')
    node.write('old/d/c.txt', 'c')
    node.path('new').mkdir()
    node.sh('rm -r old/a.txt old/d')
    eventually(lambda: node.status()['held'] == 0)
    os.rename(node.path(f'.blaze/deleted/old/{what}'), node.path(f'new/{what}'))
    if what == 'd':
        assert sorted(node.tree('new')) == ['d', 'd/c.txt', 'd/e', 'd/e/b.bin']
        assert node.read('new/d/e/b.bin') == b'\0b' and log(node, 'new/d/c.txt')[-1] == 'created, 1 byte'
    else:
        assert node.text('new/a.txt') == LINES and log(node, 'new/a.txt')[-1] == f'created, {len(LINES)} bytes'
    assert not node.exists(f'.blaze/deleted/old/{what}')
    assert node.json('status', 'work')['held'] == 0
