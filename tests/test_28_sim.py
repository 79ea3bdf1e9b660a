"""Histories without mounts (sim/): several databases in one process, from one seed. BLAZE_SIM_HISTORIES says how many."""
import os
import subprocess

from blazetest import report
from blazetest.node import BUILD
from blazetest.wait import SCALE

HISTORIES = int(os.environ.get('BLAZE_SIM_HISTORIES', 2000 // SCALE))
SEED = os.environ.get('BLAZE_SIM_SEED', '1')


def simulate(directory, program, *arguments, allow=0):
    env = dict(os.environ, **report.sanitizer_environment(directory))
    done = subprocess.run([BUILD / 'tests' / 'sim' / program, *arguments], cwd=directory, env=env,
                          capture_output=True, text=True, timeout=120 * SCALE + HISTORIES // 20)
    reports = '\n'.join(report.tail(p) for p in report.sanitizer_reports(directory))
    assert done.returncode == allow and not reports, f'{done.stdout}{done.stderr[-4000:]}{reports}'
    return done


def test_histories_hold(directory):
    out = simulate(directory, 'sim', '--histories', str(HISTORIES), '--seed', SEED).stdout
    assert out.startswith(f'{HISTORIES} histories from seed {SEED}, '), out


def test_histories_hold_on_the_real_store(directory):
    simulate(directory, 'sim_leveldb', '--histories', '12', '--seed', SEED)


def test_a_program_that_is_not_understood_is_refused(directory):
    assert 'not understood' in simulate(directory, 'sim', '--program', '2.0 z9', allow=2).stderr
