"""The history: who changed what, when and with which program; the same on every device."""
import json
import time

import pytest

from blazetest.wait import eventually

RECORD = '{\n  "title": "Crash",\n  "status": "open",\n  "priority": 2,\n  "tags": ["a", "b"]\n}\n'


def said(node, path=''):
    """What the log says of a path, oldest first."""
    lines = node.run('log', '--json', node.path(path)).stdout.splitlines()
    return [json.loads(line)['summary'] for line in reversed(lines)]


# ---- what the log says ---------------------------------------------------------------------------

def test_log_tells_fields_from_old_to_new(node):
    node.write('r.json', RECORD)
    node.write('r.json', RECORD.replace('2', '3').replace('open', 'closed'))
    node.write('r.json', RECORD.replace('"Crash"', '"Crash on save"'))
    assert said(node, 'r.json')[1:] == ['status open → closed, priority 2 → 3',
                                        'title Crash → Crash on save, status closed → open, priority 3 → 2']


def test_log_tells_elements_of_arrays(node):
    node.write('r.json', '{"tags":["a","b","c"],"items":[{"id":7,"n":1},{"id":8,"n":2}]}')
    node.write('r.json', '{"tags":["a","x","c","d"],"items":[{"id":9,"n":0},{"id":7,"n":5}]}')
    entry = node.log('r.json')[-1]
    assert entry['fields'] == [
        {'path': 'tags[1]', 'kind': 'changed', 'from': 'b', 'to': 'x'},
        {'path': 'tags[3]', 'kind': 'added', 'to': 'd'},
        {'path': 'items[id=9]', 'kind': 'added', 'to': {'id': 9, 'n': 0}},
        {'path': 'items[id=7].n', 'kind': 'changed', 'from': 1, 'to': 5},
        {'path': 'items[id=8]', 'kind': 'removed', 'from': {'id': 8, 'n': 2}}]


def test_log_counts_lines_of_text(node):
    node.write('t.txt', 'one\ntwo\nthree\n')
    node.write('t.txt', 'one\nTWO\nthree\nfour\nfive\n')
    assert said(node, 't.txt') == ['created, 14 bytes', '+3 -1 lines']
    assert node.log('t.txt')[-1]['lines_added'] == 3 and node.log('t.txt')[-1]['lines_removed'] == 1


def test_log_tells_names_bits_and_reformatting(node):
    node.write('dir/r.json', '{"a":1}')
    node.write('dir/r.json', '{ "a": 1 }\n')
    node.sh('chmod +x dir/r.json && mv dir/r.json dir/s.json && mkdir dir/sub && mv dir/s.json dir/sub/')
    assert said(node, 'dir/sub/s.json')[1:] == ['reformatted', 'made executable', 'renamed to s.json',
                                                'moved to dir/sub/s.json']


def test_log_names_the_program(node):
    node.write('t.txt', 'python wrote this\n')
    node.sh('sed -i s/wrote/saved/ t.txt && cp t.txt /dev/null && echo more | tee -a t.txt && mv t.txt u.txt')
    node.sh('echo by a shell > u.txt')
    assert [e['program'] for e in node.log('u.txt')][1:4] == ['sed', 'tee', 'mv']
    assert node.log('u.txt')[0]['program'].startswith('python')
    assert node.log('u.txt')[4]['program'] in ('sh', 'dash', 'bash')


def test_log_is_newest_first_and_can_be_cut(node):
    for n in range(5):
        node.write('r.json', f'{{"n":{n}}}')
    lines = node.run('log', '-n', '2', node.path('r.json')).stdout.splitlines()
    assert len(lines) == 2 and 'n 3 → 4' in lines[0] and 'n 2 → 3' in lines[1]


def test_log_of_a_directory_has_all_below_and_nothing_beside(node):
    node.write('a/x.txt', 'x')
    node.write('a/sub/y.txt', 'y')
    node.write('b/z.txt', 'z')
    node.write('a/x.txt', 'xx')
    text = node.run('log', node.path('a')).stdout
    assert [line.split()[4] for line in text.splitlines()] == ['x.txt:', 'sub/y.txt:', 'sub:', 'x.txt:', '.:']
    everything = node.run('log', cwd=node.mnt).stdout
    assert 'b/z.txt: created' in everything and len(everything.splitlines()) == 7
    assert node.run('log', cwd=node.path('a')).stdout == text


def test_log_of_a_directory_tells_what_left_it(node):
    node.write('a/x.txt', 'x')
    node.write('a/keep.txt', 'k')
    node.sh('mkdir a/sub && mv a/x.txt a/sub/x.txt')
    node.write('a/sub/x.txt', 'later')
    assert said(node, 'a/sub')[-2:] == ['moved to a/sub/x.txt', '+1 -1 lines']
    node.sh('mv a/sub/x.txt a/x.txt')
    node.write('a/x.txt', 'elsewhere')
    assert said(node, 'a/sub')[-1] == 'moved to a/x.txt'
    assert said(node, 'a/x.txt')[-1] == '+1 -1 lines'


def test_log_tells_against_what_the_author_saw(pair):
    a, b = pair.nodes
    a.write('r.json', RECORD)
    pair.synced()
    pair.cut()
    a.write('r.json', RECORD.replace('2', '3'))
    b.write('r.json', RECORD.replace('open', 'closed'))
    b.write('r.json', RECORD.replace('open', 'done'))
    pair.restore()
    pair.synced()
    # Neither took back what the other did: each is told what it changed of what it had read.
    assert sorted(said(a, 'r.json')[1:]) == ['priority 2 → 3', 'status closed → done', 'status open → closed']
    assert a.log('r.json') == b.log('r.json')


def test_log_is_the_same_on_every_device(pair):
    a, b = pair.nodes
    a.write('dir/r.json', RECORD)
    pair.synced()
    b.write('dir/r.json', RECORD.replace('Crash', 'Boom'))
    b.write('dir/t.txt', 'text\n')
    pair.synced()
    a.sh('mv dir/t.txt dir/u.txt')
    pair.synced()
    assert a.run('log', '--json', a.path('dir')).stdout == b.run('log', '--json', b.path('dir')).stdout
    assert {e['author'] for e in a.log('dir')} == {'device-a', 'device-b'}


def test_log_of_what_was_deleted_and_came_back(node):
    node.write('t.txt', 'one\n')
    node.sh('rm t.txt')
    eventually(lambda: said(node, 't.txt') == ['created, 4 bytes', 'deleted'])
    node.write('t.txt', 'two\n')
    assert said(node, 't.txt')[-1].startswith('restored')


def test_log_of_nothing_says_so(node):
    done = node.run('log', node.path('nothing.txt'), code=1)
    assert done.stdout == '' and 'never was a record' in done.stderr and len(done.stderr.splitlines()) == 1


def test_log_of_ten_thousand_versions_is_quick(node):
    path = node.path('r.json')
    for n in range(10000):
        path.write_text(f'{{\n  "n": {n},\n  "half": {n // 2}\n}}\n')
    start = time.monotonic()
    lines = node.run('log', path).stdout.splitlines()
    took = time.monotonic() - start
    assert len(lines) == 10000 and 'n 9998 → 9999' in lines[0]
    print(f'log of 10,000 versions: {took:.2f} s')
