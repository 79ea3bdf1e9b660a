"""A save is compared with the version its program saw: what came in between stays, what it undoes goes."""
import json
import os
import subprocess

import pytest

from blazetest.node import BUILD
from blazetest.saves import SAVES
from blazetest.wait import SCALE, eventually, read_line

RECORD = '{"status": "open", "title": "Crash on save", "priority": 2}\n'
THEIRS = RECORD.replace('2', '3')
BOTH = {'status': 'done', 'title': 'Crash on save', 'priority': 3}
# What they read again right before they save, from what they have in hand since before: see bases.h.
READS_AGAIN = {'rsync --inplace'}
# This vim is stopped early, looks whether the file changed, and does not save.
REFUSES = {'vim swap file'}
WHOLE = [how for how, save in SAVES.items() if save.name.endswith('.json')]


class Between:
    """A script that is stopped between reading the record and saving it, while the block runs."""

    def __init__(self, node, script, path):
        home = node.directory
        (home / 'tmp').mkdir(exist_ok=True)
        env = {'PATH': os.environ['PATH'], 'HOME': str(home), 'TMPDIR': str(home / 'tmp'), 'LC_ALL': 'C.UTF-8',
               'TERM': 'dumb', 'USER': 'ana'}
        self.process = subprocess.Popen(
            [str(BUILD / 'tests/posix/between'), os.path.basename(path), 'bash', '-euo', 'pipefail', '-c', script,
             'bash', path],
            cwd=node.mnt, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        assert read_line(self.process.stdout.fileno(), 20, 'between') == 'between\n'
        return self

    def __exit__(self, *exc):
        with self.process:
            self.process.stdin.write('\n')
            self.process.stdin.close()
            self.code = self.process.wait(30 * SCALE)
        assert exc[0] or self.code == 0, self.code


def shared(pair, path='dir/r.json', text=RECORD):
    pair.nodes[0].write(path, text)
    pair.synced()
    return pair.nodes


@pytest.mark.parametrize('how', WHOLE)
def test_edit_that_arrives_between_read_and_save_survives(pair, how):
    a, b = shared(pair)
    if SAVES[how].before:
        a.sh(SAVES[how].before.replace('"$1"', 'dir/r.json').replace('$1', 'dir/r.json'))
        a.write('dir/r.json', RECORD)
        a.wait()
    with Between(a, SAVES[how].script, 'dir/r.json'):
        b.write('dir/r.json', THEIRS)
        b.wait()
    eventually(lambda: a.status()['held'] == 0)
    a.wait()
    found = json.loads(a.text('dir/r.json'))
    assert a.read('dir/r.json') == b.read('dir/r.json')
    if how in REFUSES:
        assert found == json.loads(THEIRS)
    elif how in READS_AGAIN:
        assert found['status'] == 'done'
    else:
        assert found == BOTH


def test_program_that_saw_the_newer_version_may_go_back(pair):
    a, b = shared(pair)
    with open(a.path('dir/r.json'), encoding='utf-8') as f:
        old = f.read()
    b.write('dir/r.json', THEIRS)
    pair.synced()
    assert a.text('dir/r.json') == THEIRS
    a.write('dir/r.json', old)
    pair.synced()
    assert b.text('dir/r.json') == RECORD


def test_program_that_saw_only_the_old_version_does_not_bring_it_back(pair):
    a, b = shared(pair)
    assert a.text('dir/r.json') == RECORD
    b.write('dir/r.json', THEIRS)
    b.wait()
    a.write('dir/r.json', RECORD)
    pair.synced()
    assert a.text('dir/r.json') == b.text('dir/r.json') == THEIRS


# A shell that reads the record, says so, and saves after a word: without the reading being its own, or its parent's.
STEPS = 'echo ready; read -r go; '


class Stepping:
    """A shell script that says "ready" and waits for a line, as often as it says `{wait}`."""

    def __init__(self, node, script):
        self.process = subprocess.Popen(['bash', '-euc', script.replace('{wait}', STEPS)], cwd=node.mnt, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ready()

    def ready(self):
        assert read_line(self.process.stdout.fileno(), 20, 'script') == 'ready\n'

    def go(self, last=True):
        self.process.stdin.write('\n')
        self.process.stdin.flush()
        if not last:
            self.ready()
            return
        with self.process:
            assert self.process.wait(20 * SCALE) == 0


def their_edit(b, text=THEIRS):
    b.write('dir/r.json', text)
    b.wait()


@pytest.mark.parametrize('script', [
    'text=$(<dir/r.json); {wait} bash -c \'echo "${1/open/done}" > dir/r.json\' bash "$text"',
    'text=$(<dir/r.json); {wait} bash -c \'echo "${1/open/done}" > dir/new.tmp; mv dir/new.tmp dir/r.json\' bash "$text"',
    'text=$(cat dir/r.json); {wait} echo "${text/open/done}" > dir/r.json',
    'cat dir/r.json | sed s/open/done/ > dir/r.json.new; {wait} mv dir/r.json.new dir/r.json',
    'sed s/open/done/ < dir/r.json > "$HOME/x"; {wait} cp "$HOME/x" dir/r.json',
], ids=['child saves', 'child renames', 'parent saves', 'pipeline', 'sibling saves'])
def test_reading_of_the_family_counts(pair, script):
    a, b = shared(pair)
    step = Stepping(a, script)
    their_edit(b)
    step.go()
    pair.synced()
    assert json.loads(a.text('dir/r.json')) == BOTH


def test_program_that_reads_again_before_it_saves_is_not_taken_to_know_better(pair):
    """vim copies the file before it replaces it, others look whether it changed: what they edit is older."""
    a, b = shared(pair)
    step = Stepping(a, 'text=$(<dir/r.json); {wait} : $(<dir/r.json); echo "${text/open/done}" > dir/r.json')
    their_edit(b)
    step.go()
    pair.synced()
    assert json.loads(a.text('dir/r.json')) == BOTH


def test_second_save_without_reading_starts_from_the_first(pair):
    """What the program saved is what it knows, not what that was merged into."""
    a, b = shared(pair, text='{"a": 1, "b": 1, "c": 1}\n')
    step = Stepping(a, 'text=$(<dir/r.json); {wait} echo \'{"a": 2, "b": 1, "c": 1}\' > dir/r.json; {wait} '
                       'echo \'{"a": 2, "b": 1, "c": 2}\' > dir/r.json')
    their_edit(b, '{"a": 1, "b": 2, "c": 1}\n')
    step.go(last=False)
    assert json.loads(a.text('dir/r.json')) == {'a': 2, 'b': 2, 'c': 1}
    step.go()
    pair.synced()
    assert json.loads(b.text('dir/r.json')) == {'a': 2, 'b': 2, 'c': 2}
    assert a.xattr('dir/r.json', 'blaze.conflicts') == '0'


@pytest.mark.parametrize('reads_again', [False, True])
def test_repaired_json_keeps_the_field_that_arrived_under_it(pair, reads_again):
    a, b = shared(pair)
    a.sh("sed 's/}/,/' dir/r.json > dir/r.json.tmp && mv dir/r.json.tmp dir/r.json")
    broken = a.text('dir/r.json')
    pair.cut()
    b.write('dir/r.json', THEIRS)
    pair.restore()
    pair.synced()
    assert a.text('dir/r.json') in (broken, THEIRS)
    a.sh("sed -i 's/,$/}/; s/open/done/' dir/r.json" if reads_again else
         "echo '" + RECORD.strip().replace('open', 'done') + "' > dir/r.json")
    pair.synced()
    assert json.loads(a.text('dir/r.json')) == BOTH
