"""Readers, writers and watchers on one device while another changes everything: no hang, no difference."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from blazetest.wait import SCALE, eventually, now
from blazetest.watch import Watch

SECONDS = float(os.environ.get('BLAZE_STRESS_SECONDS', '4'))

# What piles up while the link is cut and made again all the time is sent, and merged, afterwards.
CATCH_UP_SECONDS = 60 + 5 * SECONDS


@pytest.mark.timeout(120 + SECONDS + 2 * CATCH_UP_SECONDS)
def test_everything_at_once(pair, directory):
    a, b = pair.nodes
    end = directory / 'end'
    a.write('s/a', '1')
    pair.synced()

    def start(node, kind):
        return subprocess.Popen([sys.executable, '-m', 'blazetest.work', str(node.path('s')), str(end), kind],
                                cwd=Path(__file__).parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

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
