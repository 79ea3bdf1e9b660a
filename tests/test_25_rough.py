"""Sequences that once lost something: each is a program's ordinary way of using files."""
import os
import shutil

import pytest

from blazetest.syscalls import EXCHANGE, renameat2
from blazetest.wait import eventually


def shows(node, path, text):
    eventually(lambda: node.text(path) == text, 10, f'{node.name} shows {path}')


def test_move_that_keeps_the_name_arrives(pair):
    a, b = pair.nodes
    a.write('c/d/f', '1')
    a.write('c/d/s/g', '2')
    pair.synced()
    os.rename(b.path('c/d/f'), b.path('c/f'))
    os.rename(b.path('c/d/s'), b.path('c/s'))
    os.rmdir(b.path('c/d'))
    pair.synced()
    assert a.text('c/f') == '1' and a.text('c/s/g') == '2' and not a.exists('c/d')


@pytest.mark.parametrize('other', ['r.json.tmp', 'tmpabcdef', 'z.json'])
def test_exchange_of_a_record_and_another_file_keeps_both(pair, other):
    a, b = pair.nodes
    a.write('c/r.json', '{"v":"old"}')
    pair.synced()
    a.write(f'c/{other}', '{"v":"new"}')
    renameat2(a.path(f'c/{other}'), a.path('c/r.json'), EXCHANGE)
    assert a.text('c/r.json') == '{"v":"new"}' and a.text(f'c/{other}') == '{"v":"old"}'
    a.wait()
    shows(b, 'c/r.json', '{"v":"new"}')


def test_file_being_written_brings_its_removed_directory_back(pair):
    a, b = pair.nodes
    a.write('c/d/r.txt', '1')
    pair.synced()
    with open(a.path('c/d/new.txt'), 'w', encoding='utf-8') as f:
        f.write('precious')
        f.flush()
        shutil.rmtree(b.path('c/d'))
        b.wait()
        eventually(lambda: not a.exists('c/d/r.txt'), 10)
    pair.synced()
    shows(b, 'c/d/new.txt', 'precious')


def test_directory_kept_for_a_local_file_syncs_what_is_made_in_it_later(pair):
    a, b = pair.nodes
    a.write('c/d/r.txt', '1')
    a.write('c/d/.r.txt.swp', 'local')
    a.wait()
    shows(b, 'c/d/r.txt', '1')
    shutil.rmtree(b.path('c/d'))
    b.wait()
    eventually(lambda: not a.exists('c/d/r.txt'), 10)
    a.write('c/d/later.txt', 'here')
    a.wait()
    shows(b, 'c/d/later.txt', 'here')


def test_directory_in_the_place_of_a_removed_file(pair):
    a, b = pair.nodes
    a.write('c/x', 'file')
    pair.synced()
    os.unlink(a.path('c/x'))
    os.mkdir(a.path('c/x'))
    a.write('c/x/f', 'inside')
    pair.synced()
    assert b.text('c/x/f') == 'inside'


def test_removing_another_hard_link_leaves_the_record(pair):
    a, b = pair.nodes
    a.write('c/x.tmp', 'kept')
    os.link(a.path('c/x.tmp'), a.path('c/y.tmp'))
    os.rename(a.path('c/x.tmp'), a.path('c/rec.txt'))
    os.unlink(a.path('c/y.tmp'))
    pair.synced()
    shows(b, 'c/rec.txt', 'kept')
    assert a.text('c/rec.txt') == 'kept'


def test_half_written_record_survives_a_remote_delete(pair):
    a, b = pair.nodes
    a.write('r.json', '{"v":1}')
    pair.synced()
    fd = os.open(a.path('r.json'), os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b'{"v":')
    os.close(os.dup(fd))  # what a child process does that inherited the descriptor
    os.unlink(b.path('r.json'))
    b.wait()
    os.write(fd, b'2}')
    os.close(fd)
    pair.synced()
    assert a.text('r.json') == '{"v":2}'
    shows(b, 'r.json', '{"v":2}')


@pytest.mark.parametrize('save', ['truncate', 'ftruncate', 'in place'])
def test_save_from_an_old_reading_keeps_what_arrived(pair, save):
    a, b = pair.nodes
    a.write('r.json', '{"mine": 1, "theirs": 1}\n')
    pair.synced()
    assert a.text('r.json')
    b.write('r.json', '{"mine": 1, "theirs": 2}\n')
    b.wait()
    fd = os.open(a.path('r.json'), os.O_WRONLY | (os.O_TRUNC if save == 'truncate' else 0))
    if save == 'ftruncate':
        os.ftruncate(fd, 0)
    os.write(fd, b'{"mine": 2, "theirs": 1}\n')
    os.close(fd)
    pair.synced()
    assert a.text('r.json') == '{"mine": 2, "theirs": 2}\n' == b.text('r.json')


def test_links_made_while_their_directories_are_removed_bring_them_back(pair):
    a, b = pair.nodes
    paths = [f'd{k}/r' for k in range(5)]
    for path in paths:
        a.write(path, '1')
    pair.synced()
    for path in paths:  # a link is held back for a moment: the removal gets in between
        a.path(path).with_name('l').symlink_to('r')
        shutil.rmtree(b.path(path).parent)
        b.wait()
    pair.synced()
    assert a.tree() == b.tree() and all(f'd{k}/l' in b.tree() for k in range(5))


def test_backups_made_while_their_records_are_edited_are_files_of_their_own(pair):
    a, b = pair.nodes
    names = [f'r{k}' for k in range(5)]
    for name in names:
        a.write(f'c/{name}', 'old')
    pair.synced()
    for name in names:  # a backup's name is held back for a moment: the edit gets in between
        os.rename(a.path(f'c/{name}'), a.path(f'c/{name}.bak'))
        b.write(f'c/{name}', 'new')
        b.wait()
    pair.synced()
    assert a.tree() == b.tree() and all(b.text(f'c/{name}') == 'new' for name in names)


def test_exchange_that_is_refused_changes_nothing(pair):
    a, b = pair.nodes
    pair.cut()
    a.write('r', 'record')
    for name in ('s', 't', 'r/in'):  # the later one of two, a file and a directory, is shown under another name
        b.write(name, '')
    pair.restore()
    pair.synced()
    a.path('c/r').mkdir(parents=True)
    for _ in range(10):  # the publisher must not see the half of it that went well
        with pytest.raises(FileExistsError):
            renameat2(a.path('r'), a.path('c/r'), EXCHANGE)
    pair.synced()
    assert a.path('c/r').is_dir() and a.names('c') == b.names('c') == ['r'] and b.text('r') == 'record'
