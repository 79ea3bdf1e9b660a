"""Thousands of files: what the kernel knows, and what this device keeps in memory for it, stay in step."""
import os

from blazetest.wait import eventually

MANY = 5000     # more than fs/vfs_i.h has INODES_KEPT


def fill(node, directory, count, size=1):
    top = node.mnt / directory
    top.mkdir()
    for n in range(count):
        with open(top / f'{n:05}.txt', 'wb') as f:
            f.write(b'x' * (size + n % 3))
    return top


def sizes(top):
    return {e.name: e.stat().st_size for e in os.scandir(top)}


def test_files_that_left_memory_are_as_they_were(node):
    top = fill(node, 'many', MANY)
    expected = {f'{n:05}.txt': 1 + n % 3 for n in range(MANY)}
    assert sizes(top) == expected
    inodes = {name: os.stat(top / name).st_ino for name in ('00000.txt', '02500.txt', '04999.txt')}
    for n in range(0, MANY, 997):
        (top / f'{n:05}.txt').write_bytes(b'longer')
        expected[f'{n:05}.txt'] = 6
    node.remount()
    assert sizes(top) == expected
    assert {name: os.stat(top / name).st_ino for name in inodes} == inodes


def test_change_of_a_file_that_left_memory_is_seen(pair):
    a, b = pair.nodes
    top = fill(b, 'many', MANY)
    pair.synced()
    first = b.mnt / 'many' / '00000.txt'
    assert first.read_text() == 'x'
    assert len(sizes(top)) == MANY
    a.write('many/00000.txt', 'changed elsewhere')
    a.wait()
    eventually(lambda: first.read_text() == 'changed elsewhere', 5)
    assert first.stat().st_size == len('changed elsewhere')


def test_cached_listing_shows_what_others_did(pair):
    a, b = pair.nodes
    a.write('d/0.json', '{}')
    pair.synced()
    names = {'0.json'}
    for n in range(1, 30):
        for _ in range(3):
            assert set(os.listdir(b.mnt / 'd')) == names
        a.write(f'd/{n}.json', '{}')
        names.add(f'{n}.json')
        if n % 5 == 0:
            (a.mnt / 'd' / f'{n - 1}.json').rename(a.mnt / 'd' / f'{n - 1}.moved.json')
            names ^= {f'{n - 1}.json', f'{n - 1}.moved.json'}
        pair.synced()
        eventually(lambda: set(os.listdir(b.mnt / 'd')) == names, 5)


def test_empty_file_survives_kill_9_once_it_is_closed(node):
    os.close(os.open(node.mnt / 'empty.txt', os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.close(os.open(node.mnt / 'touched.txt', os.O_CREAT | os.O_EXCL | os.O_RDONLY))
    node.kill9().mount()
    assert sorted(p.name for p in node.mnt.iterdir() if p.suffix) == ['empty.txt', 'touched.txt']
