"""The history: who changed what, when and with which program; the same on every device."""
import json
import threading
import time

import pytest

from blazetest.faults import Gate
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


# ---- diff ----------------------------------------------------------------------------------------

def instant():
    """A time between what was before and what comes after."""
    now = time.time()
    while time.time() < now + 0.005:
        pass
    text = time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now + 0.002)) + f'.{int((now + 0.002) * 1000) % 1000:03d}Z'
    return text


def test_diff_shows_the_last_change(node):
    node.write('r.json', RECORD)
    node.write('r.json', RECORD.replace('2', '3'))
    node.write('t.txt', 'one\ntwo\nthree\n')
    node.write('t.txt', 'one\n2\nthree\nfour\n')
    assert node.run('diff', node.path('r.json')).stdout.splitlines()[2:] == ['- priority: 2', '+ priority: 3']
    assert node.run('diff', node.path('t.txt')).stdout.splitlines()[2:] == \
        ['@@ -1,3 +1,4 @@', ' one', '-two', '+2', ' three', '+four']
    assert '+  "priority": 3,' in node.run('diff', '-u', node.path('r.json')).stdout


def test_diff_between_times_is_one_that_patch_applies(node):
    old = ''.join(f'line {n}\n' for n in range(100))
    new = old.replace('line 3\n', '').replace('line 50\n', 'fifty\nand more\n').replace('line 99\n', 'the end')
    node.write('t.txt', old)
    then = instant()
    node.write('t.txt', new)
    (node.directory / 'd.patch').write_text(node.run('diff', node.path('t.txt'), '--at', then).stdout)
    (node.directory / 't.txt').write_text(old)
    node.sh(f'patch -s {node.directory}/t.txt < {node.directory}/d.patch')
    assert (node.directory / 't.txt').read_text() == new
    assert node.run('diff', node.path('t.txt'), '--at', then, '--at', then).stdout == ''


def test_diff_of_a_directory(node):
    node.write('d/a.txt', 'a\n')
    node.write('d/gone.txt', 'g\n')
    then = instant()
    node.write('d/a.txt', 'b\n')
    node.write('d/sub/new.md', 'n\n')
    node.sh('rm d/gone.txt')
    eventually(lambda: 'deleted' in said(node, 'd/gone.txt'))
    found = [json.loads(line) for line in node.run('diff', '--json', node.path('d'), '--at', then).stdout.splitlines()]
    assert [(f['path'], f['from_there'], f['to_there']) for f in found] == \
        [('d/a.txt', True, True), ('d/gone.txt', True, False), ('d/sub/new.md', False, True)]
    node.run('diff', node.path('d'), code=2)


# ---- restore and undo ------------------------------------------------------------------------------

def test_restore_brings_a_directory_back(pair):
    a, b = pair.nodes
    a.write('bugs/r.json', RECORD)
    a.write('bugs/sub/t.txt', 'text\n')
    a.write('bugs/sub/blob', bytes(range(256)) * 600)
    a.sh('ln -s t.txt bugs/sub/l && chmod +x bugs/sub/t.txt')
    pair.synced()
    before = a.tree()
    then = instant()
    b.sh('rm -r bugs')
    pair.synced()
    eventually(lambda: not a.exists('bugs'))
    done = b.run('restore', b.path('bugs'), '--at', then)
    assert 'Restored bugs: 4 files' in done.stdout, done.stdout
    pair.synced()
    assert a.tree() == b.tree() == before
    b.run('undo')
    pair.synced()
    assert not a.exists('bugs') and not b.exists('bugs')
    b.run('undo')
    pair.synced()
    assert a.tree() == before


def test_restore_right_after_removing(node):
    node.write('d/r.json', RECORD)
    node.write('d/keep.txt', 'k')
    then = instant()
    node.write('d/r.json', '{}')
    node.write('d/later.txt', 'later')
    node.sh('rm -r d')
    node.run('restore', node.path('d'), '--at', then)
    assert node.text('d/r.json') == RECORD and node.names('d') == ['keep.txt', 'r.json']


def test_restore_keeps_what_came_later(node):
    node.write('d/r.json', RECORD)
    then = instant()
    node.write('d/r.json', '{}')
    node.write('d/later.txt', 'later')
    out = node.run('restore', node.path('d'), '--at', then).stdout
    assert node.text('d/r.json') == RECORD and node.text('d/later.txt') == 'later' and '1 that came later stays' in out
    assert 'nothing had to be changed' in node.run('restore', node.path('d'), '--at', then).stdout


def test_restore_of_what_moved_away_is_a_copy(node):
    node.write('d/old.txt', 'one\n')
    then = instant()
    node.sh('mv d/old.txt d/moved.txt')
    node.write('d/moved.txt', 'two\n')
    node.run('restore', node.path('d/old.txt'), '--at', then)
    assert node.text('d/old.txt') == 'one\n' and node.text('d/moved.txt') == 'two\n'
    node.run('restore', node.path('d/moved.txt'), '--at', then)
    assert node.text('d/moved.txt') == 'one\n'


def test_restore_ends_when_programs_see_what_it_did(device):
    gate = Gate(device)
    node = device.init().mount()
    node.write('t.txt', 'one\n')
    then = instant()
    node.write('t.txt', 'two\n')
    assert node.text('t.txt') == 'two\n'
    with gate.held('notify 0'):
        restore = threading.Thread(target=node.run, args=('restore', node.path('t.txt'), '--at', then))
        restore.start()
        gate.waits()
        for _ in range(5):  # commands that have nothing to wait for
            node.status()
        assert restore.is_alive()
    restore.join()
    assert node.text('t.txt') == 'one\n'


def test_restore_to_a_revision(node):
    for n in range(4):
        node.write('r.json', f'{{"n":{n}}}')
    revs = [e['rev'] for e in node.log('r.json')]
    node.run('restore', node.path('r.json'), '--rev', revs[1])
    assert node.text('r.json') == '{"n":1}'
    assert node.log('r.json')[-1]['program'] == 'blaze restore' and said(node, 'r.json')[-1] == 'n 3 → 1'
    assert 'no revision ffff-0000' in node.run('restore', node.path('r.json'), '--rev', 'ffff-0000', code=1).stderr


def test_restore_stops_at_what_has_the_name_now(node):
    node.write('d/x/t.txt', 't')
    then = instant()
    node.sh('rm -r d/x')
    node.write('d/x', 'a file now')
    done = node.run('restore', node.path('d'), '--at', then, code=3)
    assert 'something of another kind' in done.stdout and node.text('d/x') == 'a file now'


@pytest.mark.parametrize('args', [['--at', 'noon'], ['--at', '25:00'], ['--at', '2026-13-01'], ['--at', ''],
                                  ['--at', '5 parsecs ago'], [], ['--at', 'now', '--rev', '1']])
def test_restore_without_a_time_says_so(node, args):
    node.write('t.txt', 't')
    done = node.run('restore', node.path('t.txt'), *args, code=2)
    assert len(done.stderr.splitlines()) == 1 and node.text('t.txt') == 't'


def test_undo_takes_back_the_last_change_only(node):
    node.write('r.json', RECORD)
    node.write('r.json', RECORD.replace('2', '3'))
    node.write('t.txt', 'one\n')
    node.run('undo', node.path('r.json'))
    assert node.text('r.json') == RECORD and node.text('t.txt') == 'one\n'
    node.run('undo', node.path('r.json'))
    assert node.text('r.json') == RECORD.replace('2', '3')


def test_undo_keeps_what_others_changed_since(pair):
    a, b = pair.nodes
    a.write('r.json', RECORD)
    a.write('r.json', RECORD.replace('2', '3').replace('Crash', 'Boom'))
    pair.synced()
    b.write('r.json', b.text('r.json').replace('open', 'closed').replace('Boom', 'Bang'))
    pair.synced()
    a.run('undo', a.path('r.json'))
    pair.synced()
    # priority is as before; status and title are b's.
    assert a.text('r.json') == b.text('r.json') == RECORD.replace('open', 'closed').replace('Crash', 'Bang')


def test_undo_of_names_and_deletions(node):
    node.write('d/a.txt', 'a\n')
    node.sh('mv d/a.txt d/b.txt')
    node.run('undo')
    assert node.names('d') == ['a.txt']
    node.sh('chmod +x d/a.txt')
    node.run('undo')
    assert not node.path('d/a.txt').stat().st_mode & 0o100
    node.sh('rm d/a.txt')
    node.run('undo')
    assert node.text('d/a.txt') == 'a\n'
    node.run('undo')
    assert node.names('d') == []


def test_undo_of_several(node):
    for n in range(5):
        node.write('r.json', f'{{"n":{n},"m":{n // 2}}}')
    node.run('undo', '-n', '3', node.path('r.json'))
    assert json.loads(node.text('r.json')) == {'n': 1, 'm': 0}


def test_undo_of_a_creation_that_somebody_built_on(pair):
    a, b = pair.nodes
    a.write('t.txt', 'by a\n')
    pair.synced()
    b.write('t.txt', 'by b\n')
    pair.synced()
    done = a.run('undo', a.path('t.txt'), code=3)
    assert 'changed again since' in done.stdout and a.text('t.txt') == 'by b\n'
    done = b.run('undo', b.path('t.txt'), '--rev', a.log('t.txt')[-1]['rev'])
    pair.synced()
    assert a.text('t.txt') == 'by a\n'
    assert 'has not changed' in b.run('undo', b.path('never.txt'), code=1).stderr
