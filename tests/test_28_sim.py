"""Histories without mounts (sim/): several databases in one process, from one seed. BLAZE_SIM_HISTORIES says how many."""
import os
import subprocess

import pytest

from blazetest import report
from blazetest.node import BUILD
from blazetest.wait import SCALE

HISTORIES = int(os.environ.get('BLAZE_SIM_HISTORIES', 2000 // SCALE))
SEED = os.environ.get('BLAZE_SIM_SEED', '1')

# Histories that failed once, shortened.
FAILED = [
    # Clocks are set back, and then a snapshot comes: own changes have to be made again in the order they were made in.
    '2.1 c0.2536abf1 m0.4c9993b2 c1.1cc4650 s0.f554a70a W0.d9e8850a s0.8ad35869 W0.42c496f7 s0.e8b5166 s1.133a5447 '
    'T0.48a2d1bf',
    '3.1 c0.363744cf W1.b6b01a48 c1.c8b1e892 W1.10400479 s1.f494f185 c0.64824505',
    '2.3 k1.eae9cc3c c1.d872ed2e T1.2fe71bc8 W1.a73fd170 c1.801c5133 c0.dcb9f79f l0.1f50dba1 k0.b8803654 s0.13c3bd4a '
    'k1.5c4d2ece s1.51d832d0 W1.a90d5ac8 s1.b4d066a5',
    # Fields were replaced by a whole value, came back, and are hidden by another whole value that did not know them.
    '2.2 c1.8f625fb3 c0.f748e2f7 T1.63678b73 s1.b44520a3 c0.2f5e0642 m1.66d39270 s1.f28f86c6 m1.a287c0b2 s0.35121f84 '
    's1.fe61effe',
    '3.3 c1.a73a2671 k0.b5c899f0 k2.e1a7616c s1.67c17144 k0.f0c285e1 T1.d93bd492 T2.d1ef638 x1.89d8aabf s1.6e6c39f6 '
    's2.8d8fe173 s2.49790d07 r2.df71b18b T2.526b7fb1 s2.87e7cd76 t2.43e8de7e',
    '2.2 c0.5f5d21b3 c1.3f44e4c4 s0.abb67939 s1.f1ebea1c T1.887543d8 r1.3aff96c1 c1.13a10ad9 s1.a40bd70 t1.14fa3682',
    # A line that clashes gets another line end, and the event of that has the number after those of the line.
    '3.3 k2.99172d69 k1.2d24d81a T2.9fefcd3b c1.262c608d g1.f76b07e8 c0.183d020e s0.d50d7af0 T1.9638b339 s0.e38525d3 '
    'c0.32c1f7e5 d0.fbceada4 d1.50ba2fe7 k1.7403978f s0.aa833895 s1.eec538b2 s1.e9a5b26',
]


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


@pytest.mark.parametrize('program', FAILED, ids=['clock-2', 'clock-3', 'clock-array', 'cover-2', 'cover-3',
                                                 'cover-edit', 'clash-line-end'])
def test_what_failed_once_holds(directory, program):
    simulate(directory, 'sim', '--program', program)


def test_histories_hold_on_the_real_store(directory):
    simulate(directory, 'sim_leveldb', '--histories', '12', '--seed', SEED)


def test_a_program_that_is_not_understood_is_refused(directory):
    assert 'not understood' in simulate(directory, 'sim', '--program', '2.0 z9', allow=2).stderr
