"""Readers, writers and watchers on one device while another changes everything: no hang, no difference."""
import os
import subprocess
import sys

import pytest

from blazetest.wait import SCALE, eventually, now
from blazetest.watch import Watch

SECONDS = float(os.environ.get('BLAZE_STRESS_SECONDS', '4'))

# Runs until the file `end` is there; prints how often it went round. Errors that a changing tree explains are none.
WORK = r'''
import contextlib, errno, os, random, shutil, sys
root, end, kind = sys.argv[1:4]
r, rounds = random.Random(kind), 0
USUAL = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EINVAL, errno.ESTALE}
NAMES = ['a', 'b', 'c.json', 'd.txt', 'e']

def some():
    return os.path.join(root, *(r.choice(NAMES) for _ in range(r.randint(1, 3))))

def change():
    one, other = some(), some()
    match r.choice('wwwwwmmud'):
        case 'w':
            os.makedirs(os.path.dirname(one), exist_ok=True)
            with open(one, 'w') as f:
                f.write('{"n": %d}' % r.randrange(10**6) if r.random() < 0.5 else 'x' * r.randrange(60000))
        case 'm':
            os.rename(one, other)
        case 'u':
            os.unlink(one)
        case 'd':
            os.makedirs(one, exist_ok=True)

def look():
    for path, dirs, files in os.walk(root):
        for name in files:
            with contextlib.suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
                with open(os.path.join(path, name), 'rb') as f:
                    f.read()
                os.stat(os.path.join(path, name))

while not os.path.exists(end):
    rounds += 1
    try:
        change() if kind.startswith('change') else look()
    except OSError as e:
        if e.errno not in USUAL:
            raise
print(rounds)
'''


# What piles up while the link is cut and made again all the time is sent, and merged, afterwards.
CATCH_UP_SECONDS = 60 + 5 * SECONDS


@pytest.mark.timeout(120 + SECONDS + 2 * CATCH_UP_SECONDS)
def test_everything_at_once(pair, directory):
    a, b = pair.nodes
    end = directory / 'end'
    a.write('s/a', '1')
    pair.synced()

    def start(node, kind):
        return subprocess.Popen([sys.executable, '-c', WORK, str(node.path('s')), str(end), kind],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    with Watch(b.path('s'), recursive=True) as watch:
        workers = [start(a, 'change 1'), start(b, 'change 2'), start(b, 'look 1'), start(b, 'look 2'), start(a, 'look 3')]
        stop, turns = now() + SECONDS, 0
        while now() < stop:
            turns += 1
            if turns % 400 == 0:
                pair.cut()
                pair.restore()
            b.names('s')
        end.touch()
        for worker in workers:
            out, err = worker.communicate(timeout=30 * SCALE)
            assert worker.returncode == 0 and int(out) > 0, err
        eventually(lambda: b.status()['state'] == a.status()['state'] == 'synced' and a.tree() == b.tree(), CATCH_UP_SECONDS,
                   'both devices show the same')
        a.write('s/last.txt', 'x')
        eventually(lambda: 'CREATE last.txt' in watch.events(), 30, 'the watcher is told to the end')
    assert len(a.tree()) > 1
