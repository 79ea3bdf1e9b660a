"""The house style holds, and the tests' own filters catch what they are there to catch."""
import shutil
import subprocess
from pathlib import Path

import pytest

from blazetest import report

ROOT = Path(__file__).parents[1]


def check_style(tree):
    return subprocess.run([ROOT / 'scripts' / 'check-style', tree], capture_output=True, text=True)


def test_the_tree_follows_the_house_style():
    done = check_style(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


PLANTED = {
    'a fenced header': ('core/id.c', '#include <leveldb/c.h>\n'),
    'a layer above': ('core/id.c', '#include "fs/vfs.h"\n'),
    'net seen by fs': ('fs/special.c', '#include "net/net.h"\n'),
    'a long function': ('core/id.c', 'int id_long(void)\n{\n' + '\t;\n' * 70 + '}\n'),
    'many parameters': ('core/id.c', 'int id_wide(int a, int b, int c, int d, int e, int f, int g)\n{\n}\n'),
    'a long file': ('core/id.c', '\n' * 800),
    'a foreign export': ('core/id.h', 'int shout(int volume);\n'),
    'a probe that may be undefined': ('core/id.c', '#ifdef HAVE_MAGIC\n#endif\n'),
    'a nap': ('tests/test_00_unit.py', 'time.sleep' + '(1)\n'),
    'a path of one machine': ('scripts/test', 'cd /' + 'root/blaze\n'),
}


@pytest.mark.parametrize('what', PLANTED)
def test_planted_violation_is_found(what, directory):
    path, text = PLANTED[what]
    for folder in ('core', 'net', 'fs', 'cli', 'scripts', 'tests'):
        shutil.copytree(ROOT / folder, directory / folder,
                        ignore=shutil.ignore_patterns('__pycache__'))
    before = check_style(directory).stdout.splitlines()
    with open(directory / path, 'a', encoding='utf-8') as f:
        f.write(text)
    after = check_style(directory)
    new = [line for line in after.stdout.splitlines() if line not in before]
    assert after.returncode == 1 and any(line.startswith(path) for line in new), after.stdout


@pytest.mark.parametrize('line', [
    '2026-01-01T00:00:00.000Z blaze error: something', 'SUMMARY: AddressSanitizer: heap-use-after-free',
    'WARNING: ThreadSanitizer: data race (pid=1)', 'x.c:1:2: runtime error: signed integer overflow',
    "blaze: a.c:1: f: Assertion `x' failed.", 'core/bytes.c: panic'])
def test_suspicious_line_is_noticed(line):
    assert report.suspicious(f'all is well\n{line}\n')


def test_allowed_line_is_not_suspicious():
    line = '2026-01-01T00:00:00.000Z blaze error: disk full'
    assert not report.suspicious(line, [r'blaze error: disk full'])
    assert report.suspicious(line, [r'blaze error: disk'])


def test_daemon_that_says_error_fails_its_test(node):
    with open(node.directory / 'daemon.log', 'a', encoding='utf-8') as f:
        f.write('blaze error: planted\n')
    with pytest.raises(AssertionError, match='planted'):
        node.judge()


def test_sanitizer_report_fails_its_test(node):
    (node.directory / 'sanitizer.1').write_text('ERROR: planted')
    with pytest.raises(AssertionError, match='planted'):
        node.judge()
    (node.directory / 'sanitizer.1').unlink()
