"""A bulk deletion of another device stays in sight until somebody says what to do; all others just happen."""
import shutil

import pytest

from blazetest.wait import eventually


def fill(pair, count, folder='notes'):
    a, b = pair.nodes[:2]
    for k in range(count):
        a.write(f'{folder}/{k}.json', f'{{"n": {k}}}\n')
    pair.synced()
    return a, b


def remove(node, numbers, folder='notes'):
    for k in numbers:
        node.path(f'{folder}/{k}.json').unlink()
    eventually(lambda: node.status()['held'] == 0)
    node.wait()


def deletions(node):
    return [(d['path'], d['held'], d['of']) for d in node.status()['deletions']]


def test_bulk_deletion_is_held_and_told(pair):
    a, b = fill(pair, 40)
    remove(a, range(30))
    assert a.names('notes') == sorted(f'{k}.json' for k in range(30, 40))
    assert len(b.names('notes')) == 40 and b.text('notes/3.json') == '{"n": 3}\n'
    assert deletions(b) == [('notes', 30, 40)] and deletions(a) == []
    assert 'device-a deleted 30 of 40 records in notes/' in b.run('status', 'work').stdout
    b.run('deletes', code=3, cwd=b.mnt)
    assert b.run('status', '--check', 'work', code=3)


@pytest.mark.parametrize('count,gone', [(40, 19), (12, 10)])
def test_smaller_deletion_happens(pair, count, gone):
    a, b = fill(pair, count)
    remove(a, range(gone))
    assert b.names('notes') == a.names('notes') and len(b.names('notes')) == count - gone
    assert deletions(b) == []


@pytest.mark.parametrize('gone', [False, True])
def test_records_moved_to_another_directory_are_not_held(pair, directory, gone):
    """However the halves of a move come: they are of two collections, and a folder hands out one after the other."""
    a, b = fill(pair, 40)
    shared = directory / 'shared'
    shared.mkdir()
    for node in (a, b):
        node.run('relay', 'add', f'folder:{shared}', node.database)
    pair.cut()
    a.path('done').mkdir()
    for k in range(40):
        a.path(f'notes/{k}.json').rename(a.path(f'done/{k}.json'))
        a.write(f'notes/new-{k}.json', '{}')
        a.path(f'notes/new-{k}.json').rename(a.path(f'done/new-{k}.json'))
    for k in range(40 if gone else 0):
        a.path(f'done/new-{k}.json').unlink()
    eventually(lambda: a.status()['held'] == 0)
    a.wait('40s')
    assert b.names('notes') == a.names('notes') == [] and deletions(b) == []
    assert len(b.names('done')) == len(a.names('done')) == (40 if gone else 80)


def test_accepted_deletion_happens(pair):
    a, b = fill(pair, 20)
    remove(a, range(15))
    assert '15 records' in b.run('deletes', '--accept', b.path('notes')).stdout
    assert b.names('notes') == a.names('notes') == sorted(f'{k}.json' for k in range(15, 20))
    assert deletions(b) == []
    b.run('deletes', cwd=b.mnt)
    pair.synced()


def test_refused_deletion_is_undone_everywhere(pair):
    a, b = fill(pair, 20)
    remove(a, range(15))
    b.run('deletes', '--refuse', b.path('notes'))
    pair.synced()
    assert len(a.names('notes')) == 20 and a.text('notes/7.json') == '{"n": 7}\n'
    assert deletions(a) == deletions(b) == []


def test_removed_collection_is_held_with_its_directories(pair):
    a, b = fill(pair, 20, 'notes/deep')
    shutil.rmtree(a.path('notes'))
    eventually(lambda: a.status()['held'] == 0)
    a.wait()
    assert a.names() == [] and len(b.names('notes/deep')) == 20
    b.run('deletes', '--accept', b.path('notes'))
    assert b.names() == []
    pair.synced()


def test_edit_revives_a_held_record_and_only_that(pair):
    a, b = fill(pair, 20)
    remove(a, range(15))
    b.write('notes/3.json', '{"n": 33}\n')
    b.wait()
    assert a.text('notes/3.json') == '{"n": 33}\n' and len(a.names('notes')) == 6
    assert deletions(b) == [('notes', 14, 20)]
    b.path('notes/4.json').unlink()
    eventually(lambda: deletions(b) == [('notes', 13, 20)])
    b.run('deletes', '--accept', b.path('notes'))
    pair.synced()
    assert len(b.names('notes')) == 6


def test_hold_survives_a_restart_and_what_comes_later_joins_it(pair):
    a, b = fill(pair, 40)
    remove(a, range(30))
    b.remount()
    pair.retarget()
    assert len(b.names('notes')) == 40 and deletions(b) == [('notes', 30, 40)]
    remove(a, [30])
    assert deletions(b) == [('notes', 31, 40)]
    b.run('deletes', '--accept', b.path('notes'))
    assert b.names('notes') == a.names('notes')


def test_device_that_was_away_holds_too_and_one_that_joins_later_does_not(clusters):
    three = clusters(3)
    a, b, c = three.nodes
    fill(three, 20)
    three.cut(c)
    remove_all = range(15)
    for k in remove_all:
        a.path(f'notes/{k}.json').unlink()
    eventually(lambda: len(deletions(b)) == 1 and deletions(b)[0][1] == 15)
    three.restore(c)
    eventually(lambda: deletions(c) == [('notes', 15, 20)])
    b.run('deletes', '--refuse', b.path('notes'))
    three.synced()
    assert len(c.names('notes')) == 20 and deletions(c) == []
