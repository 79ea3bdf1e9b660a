"""The C unit tests, one test an executable, so that pytest's summary is the whole truth."""
import os
import subprocess

import pytest

from blazetest import report
from blazetest.node import BUILD
from blazetest.wait import SCALE

UNITS = sorted(p for p in (BUILD / 'tests' / 'unit').glob('test_*') if os.access(p, os.X_OK))


@pytest.mark.parametrize('unit', UNITS, ids=lambda p: p.name)
def test_unit(unit, directory):
    env = dict(os.environ, **report.sanitizer_environment(directory))
    done = subprocess.run([unit], cwd=directory, env=env, capture_output=True, text=True,
                          timeout=60 * SCALE)
    reports = '\n'.join(report.tail(p) for p in report.sanitizer_reports(directory))
    assert done.returncode == 0 and not reports, f'{done.stdout}{done.stderr}{reports}'


def test_there_are_unit_tests():
    assert UNITS, 'no executables in build/PRESET/tests/unit: was the tree built?'
