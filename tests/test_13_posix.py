"""A mount beside a local file system: the same calls, the same results, errno for errno."""
import fcntl
import mmap
import os
import sqlite3
import subprocess
import sys

import pytest

from blazetest.node import BUILD
from blazetest.syscalls import EXCHANGE, renameat2
from blazetest.wait import SCALE, never

PROGRAMS = BUILD / 'tests' / 'posix'
SEEDS = int(os.environ.get('BLAZE_POSIX_SEEDS', '1'))  # of each place
OPERATIONS = 24000 // SCALE


def run_all(*commands):
    """Programs at the same time; each has to end with 0."""
    running = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
               for c in commands]
    said = [p.communicate(timeout=200 * SCALE)[0] for p in running]
    for process, text in zip(running, said):
        assert process.returncode == 0, text[-20000:]


@pytest.fixture
def reference(directory):
    """A tmpfs, as strict about devices and set-user-id as the mount is."""
    path = directory / 'reference'
    path.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'nosuid,nodev', 'none', path], check=True)
    yield path
    subprocess.run(['umount', '-l', path], check=True)


def lockstep(device, reference, where, seed, count):
    return [PROGRAMS / 'lockstep', '-l', '-s', str(seed), '-n', str(count), device.path(where), reference / where]


# In '.', top-level directories are streams of their own; the others run at the same time.
@pytest.mark.root
@pytest.mark.timeout(240)
@pytest.mark.parametrize('first, places', [(1, ['.']), (2, ['a', 'b']), (4, ['c.tmp', 'd'])])
def test_random_operations_end_as_on_tmpfs(device, reference, first, places):
    device.init().mount(options='allow_other')
    for where in places:
        for root in (device.mnt, reference):
            (root / where).mkdir(exist_ok=True)
    for seed in range(first, first + SEEDS, len(places) * 3):
        run_all(*(lockstep(device, reference, where, seed + n, OPERATIONS) for n, where in enumerate(places)))
    device.remount(options='allow_other')
    run_all(*(lockstep(device, reference, where, first, 0) for where in places))


@pytest.mark.timeout(240)
@pytest.mark.parametrize('name', ['record.json', 'local.tmp'])
def test_one_file_read_written_mapped_and_cut_at_random(node, name):
    run_all([PROGRAMS / 'exerciser', '-n', str(50000 // SCALE), node.path(name)])


# ---- what the random operations taught, one by one --------------------------------------------------

@pytest.mark.parametrize('name', ['flag.json', 'flag.tmp'])
def test_append_flag_set_and_cleared_on_an_open_file(node, name):
    fd = os.open(node.write(name, '0123456789'), os.O_RDWR)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    os.write(fd, b'end')
    fcntl.fcntl(fd, fcntl.F_SETFL, 0)
    os.pwrite(fd, b'AB', 0)
    os.close(fd)
    assert node.text(name) == 'AB23456789end'


def test_page_mapped_through_an_appending_descriptor_stays_where_it_is(node):
    fd = os.open(node.write('mapped.bin', bytes(8192)), os.O_RDWR | os.O_APPEND)
    with mmap.mmap(fd, 8192) as m:
        m[100:104] = b'here'
        m.flush()
    os.close(fd)
    assert node.read('mapped.bin') == bytes(100) + b'here' + bytes(8088)


def test_truncating_open_for_reading_truncates(node):
    path = node.write('read.json', '{"a":1}')
    os.close(os.open(path, os.O_RDONLY | os.O_TRUNC))
    assert node.kill9().mount().read('read.json') == b''


def test_file_created_for_reading_keeps_what_truncate_makes_of_it(node):
    os.close(os.open(node.path('a.tmp'), os.O_CREAT | os.O_RDONLY))
    os.truncate(node.path('a.tmp'), 27)
    os.rename(node.path('a.tmp'), node.path('b.tmp'))
    assert node.kill9().mount().read('b.tmp') == bytes(27)


@pytest.mark.parametrize('kind', ['record', 'empty directory'])
def test_name_that_was_just_freed_is_taken_at_once(node, kind):
    """The record that is gone from the name is still known for a second, and must not push the new one aside."""
    taken = node.write('taken', 'old')
    other = node.write('other.txt', 'new')
    if kind == 'empty directory':
        other.unlink()
        other = node.path('folder')
        other.mkdir()
    taken.unlink()
    if kind == 'record':
        other.rename(taken)
    else:
        taken.touch()
        renameat2(other, taken, EXCHANGE)
    never(lambda: not os.path.lexists(taken), during=1.5)
    assert sorted(node.names()) == (['taken'] if kind == 'record' else ['folder', 'taken'])


def test_directories_of_two_collections_change_places(node):
    node.write('one/inner/a.json', '{"a":1}')
    node.write('.git/b', 'local')
    renameat2(node.path('one/inner'), node.path('.git'), EXCHANGE)
    for _ in range(2):
        assert node.text('one/inner/b') == 'local' and node.text('.git/a.json') == '{"a":1}'
        node.remount()


def test_file_without_a_name_keeps_its_attributes(node):
    path = node.write('open.json', '{}')
    os.setxattr(path, 'user.a', b'1')
    with open(path, 'rb') as f:
        path.unlink()
        os.setxattr(f.fileno(), 'user.b', b'2')
        os.removexattr(f.fileno(), 'user.a')
        assert os.listxattr(f.fileno()) == ['user.b'] and os.getxattr(f.fileno(), 'user.b') == b'2'


@pytest.mark.parametrize('name', ['r.json', '.git/f'])
@pytest.mark.parametrize('size', [100, 3 << 20])
@pytest.mark.parametrize('goes', ['unlink', 'rename'])
def test_file_that_goes_between_its_lookup_and_its_open_can_be_read(node, name, size, goes):
    path = node.write(name, 'x' * size)
    node.write('other.tmp', 'y')
    looked_up = os.open(path, os.O_PATH)
    if goes == 'unlink':
        path.unlink()
    else:
        os.rename(node.path('other.tmp'), path)
    for _ in range(2):
        with open(f'/proc/self/fd/{looked_up}', 'rb') as f:
            assert f.read() == b'x' * size and os.fstat(f.fileno()).st_nlink == 0
    os.close(looked_up)


@pytest.mark.root
@pytest.mark.parametrize('act', ['write', 'truncate', 'ftruncate', 'fallocate', 'O_TRUNC', 'copy_file_range'])
def test_set_id_bits_end_when_another_user_changes_the_file(device, act):
    path = device.init().mount(options='allow_other').write('program', 'x' * 100)
    os.chmod(path, 0o6777)
    script = {
        'write': 'os.pwrite(os.open("program", os.O_WRONLY), b"y", 0)',
        'truncate': 'os.truncate("program", 5)',
        'ftruncate': 'os.ftruncate(os.open("program", os.O_WRONLY), 5)',
        'fallocate': 'os.posix_fallocate(os.open("program", os.O_WRONLY), 0, 200)',
        'O_TRUNC': 'os.open("program", os.O_WRONLY | os.O_TRUNC)',
        'copy_file_range': 'f = os.open("program", os.O_RDWR); os.copy_file_range(f, f, 5, 0, 50)'}[act]
    subprocess.run([sys.executable, '-c', f'import os; {script}'], cwd=device.mnt, user=1234, group=1234,
                   extra_groups=[], check=True)
    assert path.stat().st_mode & 0o7777 == 0o777
    os.chmod(path, 0o6777)
    subprocess.run([sys.executable, '-c', f'import os; {script}'], cwd=device.mnt, check=True)
    assert path.stat().st_mode & 0o7777 == 0o6777, 'root may keep them'


# ---- SQLite -----------------------------------------------------------------------------------------

INSERTS = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
for n in range(150):
    database.execute('BEGIN IMMEDIATE')
    database.execute('INSERT INTO lines (text) VALUES (?)', (sys.argv[2] * (n * 7 % 900),))
    database.execute('UPDATE total SET lines = lines + 1')
    database.execute('COMMIT' if n % 10 else 'ROLLBACK')
"""


@pytest.mark.parametrize('mode', ['WAL', 'DELETE'])
@pytest.mark.parametrize('name', ['.git/x.db', 'x.db'])
def test_two_processes_share_an_sqlite_database(node, name, mode):
    path = node.path(name)
    path.parent.mkdir(exist_ok=True)
    database = sqlite3.connect(path)
    assert database.execute(f'PRAGMA journal_mode = {mode}').fetchone()[0] == mode.lower()
    database.executescript('CREATE TABLE lines (text); CREATE TABLE total (lines); INSERT INTO total VALUES (0)')
    database.close()
    run_all(*([sys.executable, '-c', INSERTS, path, who] for who in 'ab'))
    database = sqlite3.connect(path)
    assert database.execute('PRAGMA integrity_check').fetchone() == ('ok',)
    assert database.execute('SELECT count(*), (SELECT lines FROM total) FROM lines').fetchone() == (270, 270)
    database.close()
