"""One name on several devices that could not see each other: nothing is lost, and all show the same."""
import os
import re
import subprocess
import sys

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
    return [node.path(f'{folder}/{p}').read_text() for p in node.tree(folder) if '@' in p]


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


def second_name(node, folder, name):
    """The name that a file made elsewhere under the same one got."""
    stem, dot, ext = name.partition('.')
    found = [n for n in node.names(folder) if re.fullmatch(rf'{stem}~[0-9a-f]{{8}}{re.escape(dot + ext)}', n)]
    return found[0] if len(found) == 1 else None


ONE, TWO = 'made on one\n', 'and on two, something else\n'


def made_apart(pair, name):
    """Both files are there on both devices, under the same names."""
    a, b = apart(pair, lambda n: n.write(f'c/{name}', ONE), lambda n: n.write(f'c/{name}', TWO))
    eventually(lambda: all(second_name(n, 'c', name) for n in (a, b)))
    pair.synced()
    assert a.tree_hash() == b.tree_hash()
    for node in (a, b):
        assert {node.text(f'c/{name}'), node.text(f'c/{second_name(node, "c", name)}')} == {ONE, TWO}
        assert losers(node) == [] and node.xattr(f'c/{name}', 'blaze.conflicts') == '0'
    return a, b


@pytest.mark.parametrize('name', ['n.bin', 'n.txt', 'README'])
def test_other_bytes_of_one_name_are_two_files(pair, name):
    made_apart(pair, name)
    for node in pair.nodes:
        node.run('status', '--check', 'work')


def test_three_files_of_one_name_are_three(clusters):
    three = clusters(3)
    nodes = apart(three, *(lambda n, k=k: n.write('c/n.txt', f'{k} was here and nobody else\n' * k) for k in (1, 2, 3)))
    for node in nodes:
        eventually(lambda n=node: len(n.names('c')) == 4)
    three.synced()
    assert len({node.tree_hash() for node in nodes}) == 1
    assert len(contents(nodes[0], 'c')) == 4 and losers(nodes[0]) == []


def test_edits_made_before_the_other_file_was_seen_go_to_the_second_name(pair):
    a, b = apart(pair, lambda n: [n.write('c/n.txt', ONE), n.write('c/n.txt', ONE + 'more\n')],
                 lambda n: [n.write('c/n.txt', TWO), n.write('c/n.txt', TWO + 'more\n')])
    eventually(lambda: all(second_name(n, 'c', 'n.txt') for n in (a, b)))
    pair.synced()
    for node in (a, b):
        assert contents(node, 'c') == sorted([ONE + 'more\n', TWO + 'more\n', '{}\n']) and losers(node) == []


def test_values_written_over_what_both_had_seen_are_one_record(pair):
    a, b = pair.nodes
    a.write('c/n.bin', b'\0base')
    a, b = apart(pair, lambda n: n.write('c/n.bin', b'\0one'), lambda n: n.write('c/n.bin', b'\0two'))
    for node in (a, b):
        assert node.names('c') == ['n.bin', 'other.json']
        assert sorted(losers(node) + [node.text('c/n.bin')]) == ['\0one', '\0two']


def test_save_over_a_file_that_took_the_name_takes_nothing_away(pair):
    """A program that read its own file saves it by its name, where another device's is by now."""
    a, b = pair.nodes
    script = ('import sys; p = "c/n.txt"; t = open(p).read(); print("read", flush=True); sys.stdin.readline()\n'
              'f = open(p, "w"); f.write(t + "and more\\n"); f.close()')
    programs = []

    def make(text):
        def act(node):
            node.write('c/n.txt', text)
            p = subprocess.Popen([sys.executable, '-c', script], cwd=node.mnt, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
            assert p.stdout.readline() == 'read\n'
            programs.append(p)
        return act
    apart(pair, make(ONE), make(TWO))
    eventually(lambda: all(second_name(n, 'c', 'n.txt') for n in (a, b)))
    pair.synced()
    loser = 0 if a.text('c/n.txt') == TWO else 1
    programs[loser].communicate('go\n')
    assert programs[loser].returncode == 0
    programs[1 - loser].kill()
    programs[1 - loser].communicate()
    mine, other = (ONE, TWO) if loser == 0 else (TWO, ONE)
    assert pair.nodes[loser].text('c/n.txt') == mine + 'and more\n'
    pair.synced()
    for node in (a, b):
        assert node.text('c/n.txt') == mine + 'and more\n'
        assert losers(node) == [other], 'what the program never saw is kept, and told'
    assert a.tree_hash() == b.tree_hash()


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
