"""One name on several devices that could not see each other: nothing is lost, and all show the same."""
import os
import re

import pytest

from blazetest.wait import eventually


def apart(cluster, *acts):
    """Each device does its part while it sees nobody."""
    cluster.nodes[0].write('c/other.json', '{}\n')
    cluster.synced()
    cluster.cut()
    for node, act in zip(cluster.nodes, acts):
        act(node)
        eventually(lambda n=node: n.status()['held'] == 0)
    cluster.restore()
    cluster.synced()
    return cluster.nodes


def contents(node, folder):
    """What the entries of a directory say, in any order; a directory says the names in it."""
    found = []
    for name in node.names(folder):
        path = node.path(f'{folder}/{name}')
        found.append(os.readlink(path) if path.is_symlink() else
                     '/'.join(node.names(f'{folder}/{name}')) if path.is_dir() else path.read_text())
    return sorted(found)


def losers(node):
    folder = '.blaze/conflicts'
    return [node.path(f'{folder}/{name}').read_text() for name in node.names(folder)]


def test_directories_of_one_name_are_one(clusters):
    three = clusters(3)
    nodes = apart(three, *(lambda n, k=k: n.write(f'c/new/sub/{k}.txt', k) for k in 'abc'))
    for node in nodes:
        assert node.names('c') == ['new', 'other.json'] and node.names('c/new/sub') == ['a.txt', 'b.txt', 'c.txt']


def test_json_of_one_name_is_one_record_with_the_fields_of_all(clusters):
    three = clusters(3)
    nodes = apart(three, *(lambda n, k=k: n.write('c/r.json', f'{{"{k}": {{"x": 1}}}}\n') for k in 'abc'))
    for node in nodes:
        assert all(f'"{k}"' in node.text('c/r.json') for k in 'abc') and node.names('c') == ['other.json', 'r.json']


def test_equal_bytes_of_one_name_are_one_file_without_a_conflict(pair):
    for node in apart(pair, *[lambda n: n.write('c/n.bin', b'\0same')] * 2):
        assert node.names('c') == ['n.bin', 'other.json'] and losers(node) == []
        assert node.xattr('c/n.bin', 'blaze.conflicts') == '0'


@pytest.mark.parametrize('name', ['n.bin', 'n.txt'])
def test_other_bytes_of_one_name_are_kept_beside_and_told(pair, name):
    one, two = 'made on one\n', 'and on two, something else\n'
    a, b = apart(pair, lambda n: n.write(f'c/{name}', one), lambda n: n.write(f'c/{name}', two))
    for node in (a, b):
        kept = losers(node) + [node.text(f'c/{name}')]
        assert all(any(text in k for k in kept) for text in (one, two)), kept
        if losers(node):
            assert f'c/{name}' in node.run('status', 'work').stdout
            node.run('status', '--check', 'work', code=3)


def test_file_directory_and_link_of_one_name_are_three(clusters):
    three = clusters(3)
    nodes = apart(three, lambda n: n.write('c/x', 'a file'), lambda n: n.write('c/x/in.txt', '1'),
                  lambda n: os.symlink('other.json', n.path('c/x')))
    for node in nodes:
        assert contents(node, 'c') == ['a file', 'in.txt', 'other.json', '{}\n']
        names = [name for name in node.names('c') if name != 'other.json']
        assert 'x' in names and sum(bool(re.fullmatch(r'x~[0-9a-f]{8}', name)) for name in names) == 2


def test_names_that_differ_in_case_or_look_escaped_are_apart(pair):
    a, b = apart(pair, lambda n: [n.write('c/Name.txt', '1'), n.write('c/a%2Fb.txt', '2')],
                 lambda n: [n.write('c/name.txt', '3'), n.write('c/a%2fb.txt', '4')])
    for node in (a, b):
        assert contents(node, 'c') == ['1', '2', '3', '4', '{}\n']


def test_name_with_a_control_character_and_its_escaped_twin_are_apart(pair):
    a, b = apart(pair, lambda n: n.write('c/x\ny.txt', '1'), lambda n: n.write('c/x%0Ay.txt', '2'))
    for node in (a, b):
        assert contents(node, 'c') == ['1', '2', '{}\n'], node.names('c')


def test_two_directories_moved_to_one_name_are_both_there(pair):
    a = pair.nodes[0]
    a.write('c/one/1.txt', '1')
    a.write('c/two/2.txt', '2')
    pair.synced()
    a, b = apart(pair, lambda n: n.path('c/one').rename(n.path('c/all')),
                 lambda n: n.path('c/two').rename(n.path('c/all')))
    for node in (a, b):
        assert contents(node, 'c') == ['1.txt', '2.txt', '{}\n'] and 'all' in node.names('c')


def test_rings_of_directories_moved_on_four_devices_lose_nothing(clusters):
    four = clusters(4)
    a = four.nodes[0]
    for k in range(4):
        a.write(f'c/d{k}/f{k}.txt', str(k))
    four.synced()
    nodes = apart(four, *(lambda n, k=k: n.path(f'c/d{k}').rename(n.path(f'c/d{(k + 1) % 4}/d{k}'))
                          for k in range(4)))
    for node in nodes:
        files = {os.path.basename(p) for p in node.tree() if p.endswith('.txt')}
        assert files == {f'f{k}.txt' for k in range(4)}


def test_removed_tree_keeps_only_the_way_to_what_was_put_in(pair):
    a = pair.nodes[0]
    for k in range(6):
        a.write(f'c/tree/{k % 2}/sub/f{k}.txt', str(k))
    pair.synced()
    a, b = apart(pair, lambda n: n.sh('rm -r c/tree'), lambda n: n.write('c/tree/1/sub/new.txt', 'new'))
    for node in (a, b):
        assert [p for p in node.tree() if p.startswith('c/tree')] == [
            'c/tree', 'c/tree/1', 'c/tree/1/sub', 'c/tree/1/sub/new.txt']
