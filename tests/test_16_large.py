"""Large and sparse files: memory stays small, holes are holes, records travel, nothing is lost by kill -9."""
import ctypes
import errno
import hashlib
import mmap
import os
import random
import sqlite3
import subprocess
import threading

import pytest

from blazetest import report
from blazetest.wait import eventually, pause

MIB = 1 << 20
CYCLES = int(os.environ.get('BLAZE_KILL_CYCLES', '25'))
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
LIBC = ctypes.CDLL(None, use_errno=True)


def fallocate(fd, mode, offset, length):
    if LIBC.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
        raise OSError(ctypes.get_errno(), 'fallocate')


def memory(node, field='VmHWM'):
    """Of the daemon, in bytes."""
    with open(f'/proc/{node.process.pid}/status', encoding='utf-8') as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(field))


def backing_files(node):
    return sorted(p.name for p in (node.home / node.database / 'files').rglob('*-*'))


def opened(node, path, flags=os.O_RDWR | os.O_CREAT):
    return os.fdopen(os.open(node.path(path), flags, 0o644), 'r+b', buffering=0)


def pattern(size, seed=0):
    return random.Random(seed).randbytes(size)


def digest(path):
    with open(path, 'rb') as f:
        return hashlib.file_digest(f, 'sha256').hexdigest() if hasattr(hashlib, 'file_digest') else \
            _digest_of(f)


def _digest_of(f):
    h = hashlib.sha256()
    while block := f.read(MIB):
        h.update(block)
    return h.hexdigest()


# ---- size and memory --------------------------------------------------------------------------------

@pytest.mark.parametrize('name', ['.git/pack', 'film.mp4'])
def test_memory_does_not_grow_with_the_file(node, name):
    node.path('.git').mkdir()
    before = memory(node, 'VmRSS')
    blocks = [pattern(4 * MIB, seed) for seed in range(4)]
    expected = hashlib.sha256()
    with open(node.path(name), 'wb') as f:
        for i in range(75):
            f.write(blocks[i % 4])
            expected.update(blocks[i % 4])
    assert digest(node.path(name)) == expected.hexdigest()
    peak = memory(node)
    node.allow('.*above 1 TiB stays on this device')
    assert node.remount().path(name).stat().st_size == 300 * MIB
    assert digest(node.path(name)) == expected.hexdigest()
    peak = max(peak, memory(node))
    assert peak <= before + 128 * MIB or report.PRESET in ('asan', 'tsan')  # those keep what was freed


def test_many_large_files_are_open_at_once(node):
    node.path('.git').mkdir()
    files = [opened(node, f'.git/{i}') for i in range(300)]
    for i, f in enumerate(files):
        f.write(pattern(200_000, i))
    for i, f in enumerate(files):
        assert os.pread(f.fileno(), 200_000, 0) == pattern(200_000, i)
        f.close()


@pytest.mark.parametrize('name', ['.git/sparse', 'sparse.img'])
def test_sparse_file_of_8_tib(node, name):
    node.path('.git').mkdir()
    with opened(node, name) as f:
        f.truncate(8 << 40)
        os.pwrite(f.fileno(), b'middle', 5 << 40)
        assert os.lseek(f.fileno(), 0, os.SEEK_DATA) <= 5 << 40
        assert os.lseek(f.fileno(), 5 << 40, os.SEEK_HOLE) <= (5 << 40) + 65536
    assert node.remount().path(name).stat().st_size == 8 << 40
    assert node.path(name).stat().st_blocks * 512 < MIB
    with opened(node, name) as f:
        assert os.pread(f.fileno(), 8, (5 << 40) - 1) == b'\0middle\0'
        assert os.pread(f.fileno(), 4096, (8 << 40) - 100) == bytes(100)
        with pytest.raises(OSError) as e:
            os.lseek(f.fileno(), 8 << 40, os.SEEK_DATA)
    assert e.value.errno == errno.ENXIO
    node.allow('.*above 1 TiB stays on this device')


def test_too_large_for_the_disk_below_is_efbig(node):
    node.path('.git').mkdir()
    beside = node.home / 'beside'
    with opened(node, '.git/f') as f, open(beside, 'w+b') as g:
        codes = []
        for h in (f, g):
            try:
                codes.append(os.truncate(h.fileno(), (1 << 63) - 1))
            except OSError as e:
                codes.append(e.errno)
        assert codes in ([errno.EFBIG, errno.EFBIG], [None, None])  # tmpfs takes any size
        os.truncate(f.fileno(), 0)
        f.write(b'still fine')
    assert node.text('.git/f') == 'still fine'


# ---- holes ------------------------------------------------------------------------------------------

@pytest.mark.parametrize('size', [20_000, 700_000, 5 * MIB])
@pytest.mark.parametrize('name', ['.git/f', 'f.bin'])
def test_punched_and_zeroed_ranges_read_as_zeros(node, name, size):
    node.path('.git').mkdir()
    expected = bytearray(pattern(size))
    with opened(node, name) as f:
        f.write(expected)
        fallocate(f.fileno(), PUNCH_HOLE | KEEP_SIZE, 4096, 8192)
        expected[4096:12288] = bytes(8192)
        fallocate(f.fileno(), ZERO_RANGE, size - 1000, 3000)
        expected[size - 1000:] = bytes(3000)
        fallocate(f.fileno(), PUNCH_HOLE | KEEP_SIZE, size, 100_000)
        fallocate(f.fileno(), 0, size, 5000)
        expected += bytes(3000)
        assert os.pread(f.fileno(), len(expected) + 1, 0) == expected
    assert node.read(name) == expected and node.remount().read(name) == expected


def test_space_is_reserved_and_given_back(node):
    node.path('.git').mkdir()
    with opened(node, '.git/f') as f:
        fallocate(f.fileno(), 0, 0, 8 * MIB)
        assert os.fstat(f.fileno()).st_size == 8 * MIB and os.fstat(f.fileno()).st_blocks * 512 >= 8 * MIB
        fallocate(f.fileno(), PUNCH_HOLE | KEEP_SIZE, 0, 7 * MIB)
        assert os.fstat(f.fileno()).st_blocks * 512 < 2 * MIB
        fallocate(f.fileno(), KEEP_SIZE, 8 * MIB, 8 * MIB)
        assert os.fstat(f.fileno()).st_size == 8 * MIB and os.fstat(f.fileno()).st_blocks * 512 >= 8 * MIB
    assert int(node.sh('du -k .git/f').split()[0]) >= 8192


def test_small_file_is_data_up_to_its_end(node):
    with opened(node, 'f.txt') as f:
        f.write(bytes(5000))
        assert os.lseek(f.fileno(), 100, os.SEEK_DATA) == 100
        assert os.lseek(f.fileno(), 100, os.SEEK_HOLE) == 5000


def test_random_writes_holes_and_sizes_agree_with_the_disk(node):
    node.path('.git').mkdir()
    rnd = random.Random(16)
    with opened(node, '.git/f') as f, open(node.home / 'beside', 'w+b', buffering=0) as g:
        for _ in range(1500):
            kind, at, length = rnd.choice('wwwtpza'), rnd.randrange(400_000), rnd.randrange(1, 60_000)
            for fd in (f.fileno(), g.fileno()):
                random_step(fd, kind, at, length)
            assert os.fstat(f.fileno()).st_size == os.fstat(g.fileno()).st_size
            if rnd.random() < 0.05:
                at = rnd.randrange(400_000)
                assert os.pread(f.fileno(), 80_000, at) == os.pread(g.fileno(), 80_000, at)
        f.seek(0)
        g.seek(0)
        assert f.read() == g.read()
    assert node.remount().read('.git/f') == (node.home / 'beside').read_bytes()


def random_step(fd, kind, at, length):
    if kind == 'w':
        os.pwrite(fd, pattern(length, at), at)
    elif kind == 't':
        os.truncate(fd, at)
    elif kind == 'a':
        fallocate(fd, 0, at, length)
    elif kind == 'p':
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, at, length)
    else:
        try:
            fallocate(fd, ZERO_RANGE, at, length)
        except OSError as e:  # tmpfs cannot, the mount can everywhere
            assert e.errno == errno.EOPNOTSUPP and os.readlink(f'/proc/self/fd/{fd}').endswith('/beside')
            os.pwrite(fd, bytes(length), at)


def test_shared_mapping_of_a_large_file(node):
    node.path('.git').mkdir()
    with opened(node, '.git/f') as f:
        f.truncate(3 * MIB)
        with mmap.mmap(f.fileno(), 3 * MIB) as m:
            for at in range(0, 3 * MIB, 50_000):
                m[at:at + 5] = b'hello'
            m.flush()
            assert os.pread(f.fileno(), 5, 2_000_000) == b'hello'
            os.pwrite(f.fileno(), b'there', 1_000_000)
            assert m[1_000_000:1_000_005] == b'there'
    assert node.remount().read('.git/f').count(b'hello') == 62


# ---- records ----------------------------------------------------------------------------------------

def test_large_record_travels_and_is_edited_in_place(pair):
    a, b = pair.nodes
    content = bytearray(pattern(10 * MIB))
    a.write('big.bin', bytes(content))
    pair.synced()
    assert b.read('big.bin') == content
    with opened(b, 'big.bin') as f:
        os.pwrite(f.fileno(), b'PATCH', 5_000_000)
        os.pwrite(f.fileno(), b'END', len(content))
    content[5_000_000:5_000_005] = b'PATCH'
    content += b'END'
    pair.synced()
    assert a.read('big.bin') == content and b.read('big.bin') == content
    assert not backing_files(a) and not backing_files(b)


def test_large_record_is_appended_to(pair):
    a, b = pair.nodes
    a.write('log.txt', 'x' * (6 * MIB))
    a.sh('echo one >> log.txt; echo two >> log.txt')
    pair.synced()
    assert b.text('log.txt') == 'x' * (6 * MIB) + 'one\ntwo\n'
    assert 1 <= len(a.log('log.txt')) <= 3  # what is saved faster than it is cut into chunks is one save


def test_large_record_replaced_by_rename_and_by_truncation(pair):
    a, b = pair.nodes
    a.write('r.bin', pattern(3 * MIB, 1))
    pair.synced()
    identity = a.xattr('r.bin', 'blaze.id')
    a.write('r.bin.tmp', pattern(4 * MIB, 2))
    os.rename(a.path('r.bin.tmp'), a.path('r.bin'))
    pair.synced()
    assert b.read('r.bin') == pattern(4 * MIB, 2)
    b.write('r.bin', pattern(5 * MIB, 3))
    pair.synced()
    assert a.read('r.bin') == pattern(5 * MIB, 3) and a.xattr('r.bin', 'blaze.id') == identity
    assert not backing_files(a) and not backing_files(b)


def test_file_above_the_limit_stays_and_travels_once_it_is_smaller(pair):
    a, b = pair.nodes
    a.allow('.*above 1 TiB stays on this device')
    content = pattern(2 * MIB)
    with opened(a, 'grows.bin') as f:
        f.write(content)
        f.truncate(2 << 40)
    assert a.path('grows.bin').stat().st_size == 2 << 40 and len(backing_files(a)) == 1
    assert not b.exists('grows.bin')
    said = 'grows.bin  larger than 1 TiB: stays on this device until it is smaller'
    assert said in a.text('.blaze/status') and said in a.run('status', '--check', a.database, code=3).stdout
    assert a.remount(listen=a.listen).path('grows.bin').stat().st_size == 2 << 40
    os.truncate(a.path('grows.bin'), 2 * MIB)
    pair.retarget()
    pair.synced()
    assert b.read('grows.bin') == content and not backing_files(a)
    assert 'grows.bin' not in a.text('.blaze/status')


def test_remote_change_meets_a_large_file_being_written(pair):
    a, b = pair.nodes
    a.write('r.bin', pattern(2 * MIB, 1))
    pair.synced()
    with opened(a, 'r.bin') as f:
        os.pwrite(f.fileno(), b'local', 100)
        b.write('r.bin', pattern(3 * MIB, 2))
        b.wait()
    pair.synced()
    assert a.read('r.bin') == b.read('r.bin')


def test_exchange_of_large_records_and_files(node):
    node.path('.git').mkdir()
    content = {'a.bin': pattern(3 * MIB, 1), 'b.bin': pattern(2 * MIB, 2), '.git/c': pattern(4 * MIB, 3)}
    for name, data in content.items():
        node.write(name, data)
    for x, y in (('a.bin', 'b.bin'), ('b.bin', '.git/c')):
        assert LIBC.renameat2(-100, os.fsencode(node.path(x)), -100, os.fsencode(node.path(y)), 2) == 0
        content[x], content[y] = content[y], content[x]
    assert {name: node.read(name) for name in content} == content
    node.remount()
    assert {name: node.read(name) for name in content} == content


def test_large_files_move_in_and_out_of_what_is_synced(node):
    data = pattern(3 * MIB)
    node.sh('mkdir -p notes .git')
    node.write('notes/f.bin', data)
    node.sh('mv notes/f.bin .git/f; mv .git/f notes/g.bin; mv notes .git/notes')
    assert node.remount().read('.git/notes/g.bin') == data
    node.sh('mv .git/notes back')
    assert node.read('back/g.bin') == data
    eventually(lambda: not backing_files(node), 10, 'the file became a record')


def test_unlinked_large_file_works_until_it_is_closed(node):
    node.path('.git').mkdir()
    for name in ('.git/f', 'f.bin'):
        f = opened(node, name)
        f.write(pattern(3 * MIB))
        os.unlink(node.path(name))
        assert not node.exists(name) and not backing_files(node)
        os.pwrite(f.fileno(), b'more', 3 * MIB)
        assert os.fstat(f.fileno()).st_nlink == 0 and os.fstat(f.fileno()).st_size == 3 * MIB + 4
        assert os.pread(f.fileno(), 5 * MIB, 0) == pattern(3 * MIB) + b'more'
        f.close()


def test_removed_and_emptied_files_leave_nothing_behind(node):
    node.path('.git').mkdir()
    for i in range(5):
        node.write(f'.git/{i}', pattern(MIB, i))
    assert len(backing_files(node)) == 5
    node.sh('rm .git/0; : > .git/1; mv .git/2 .git/3; echo small > .git/4')
    assert len(backing_files(node)) == 1
    node.remount()
    assert node.read('.git/1') == b'' and node.read('.git/3') == pattern(MIB, 2) and node.text('.git/4') == 'small\n'


# ---- programs ---------------------------------------------------------------------------------------

@pytest.mark.parametrize('mode', ['delete', 'wal'])
def test_sqlite_database_of_some_megabytes(pair, mode):
    a, b = pair.nodes
    db = sqlite3.connect(a.path('app.db'))
    db.execute(f'pragma journal_mode={mode}')
    db.execute('create table t(k integer primary key, v blob)')
    for i in range(40):
        with db:
            db.executemany('insert into t values(?, ?)', [(i * 10 + k, pattern(12_000, k)) for k in range(10)])
    with db:
        db.execute('delete from t where k % 3 = 0')
    db.execute('vacuum')
    db.close()
    pair.synced()
    with sqlite3.connect(b.path('app.db')) as there:
        assert there.execute('pragma integrity_check').fetchone() == ('ok',)
        assert there.execute('select count(*) from t').fetchone() == (266,)


def test_git_with_packs(node):
    node.sh('''
        git init -q source && cd source && git config user.email a@b.c && git config user.name n
        for i in 1 2 3; do head -c 3000000 /dev/urandom > f$i; git add .; git commit -qm $i; done
        git gc -q && git fsck --full && cd .. && git clone -q --no-hardlinks source clone
        cd clone && git gc -q && git fsck --full''')
    node.remount()
    assert node.sh('cd clone && git fsck --full && git status --porcelain && git log --oneline | wc -l').endswith('3\n')


# ---- kill -9 ----------------------------------------------------------------------------------------

class Appender(threading.Thread):
    """Grows and rewrites large files in blocks that say where they belong, until the mount dies."""

    def __init__(self, node, name, seed):
        super().__init__(daemon=True)
        self.node, self.name, self.random = node, name, random.Random(seed)
        self.written = 0         # blocks whose write(2) returned

    def block(self, n):
        return hashlib.sha256(f'{self.name}.{n}'.encode()).digest() * 1024

    def run(self):
        try:
            with open(self.node.path(self.name), 'wb', buffering=0) as f:
                for n in range(400):
                    f.write(self.block(n))
                    self.written = n + 1
                    if self.random.random() < 0.1:
                        f.seek(self.random.randrange(n + 1) * 32768)
                        f.write(self.block(f.tell() // 32768))
                        f.seek(0, os.SEEK_END)
        except OSError:
            pass

    def check(self, promised):
        found = self.node.read(self.name) if self.node.exists(self.name) else b''
        whole = b''.join(self.block(n) for n in range(len(found) // 32768 + 1))
        assert whole.startswith(found), f'{self.name}: {len(found)} bytes are not what was written'
        assert not promised or len(found) >= self.written * 32768, \
            f'{self.name}: {len(found)} bytes of {self.written} blocks'


@pytest.mark.timeout(60 + CYCLES * 4)
def test_kill_in_the_middle_of_spills_and_large_writes(node):
    """What write(2) took of a large file that stays on the device is there at once."""
    node.path('.git').mkdir()
    rnd = random.Random(CYCLES)
    for cycle in range(CYCLES):
        writers = [Appender(node, name, cycle) for name in (f'.git/{cycle}', f'{cycle}.bin')]
        for w in writers:
            w.start()
        pause(rnd.uniform(0.005, 0.15))
        node.kill9(writers).mount()
        writers[0].check(promised=writers[0].written > 4)
        writers[1].check(promised=False)
    eventually(lambda: len(backing_files(node)) <= CYCLES, 10, 'orphans are swept')


def test_kill_keeps_what_was_closed_of_large_files(node):
    node.path('.git').mkdir()
    node.allow('.*above 1 TiB stays on this device')
    for i in range(6):
        node.write(f'.git/{i}', pattern(400_000, i))
        node.write(f'{i}.bin', pattern(2 * MIB, i))
        with opened(node, 'huge.img') as f:
            f.truncate(70 * MIB)
            os.pwrite(f.fileno(), b'%d' % i, i * 10 * MIB)
        with opened(node, '.git/0') as f:
            os.pwrite(f.fileno(), b'%d' % i, i * 50_000)
        node.kill9().mount()
        assert node.read(f'{i}.bin') == pattern(2 * MIB, i) and (i == 0 or node.read(f'.git/{i}') == pattern(400_000, i))
        for k in range(i + 1):
            with opened(node, 'huge.img') as f, opened(node, '.git/0') as g:
                assert os.pread(f.fileno(), 1, k * 10 * MIB) == os.pread(g.fileno(), 1, k * 50_000) == b'%d' % k


def test_half_a_save_of_a_record_is_not_shown_after_kill(node):
    node.write('r.bin', pattern(3 * MIB, 1))
    f = opened(node, 'r.bin', os.O_RDWR | os.O_TRUNC)
    f.write(pattern(2 * MIB, 2))
    node.kill9()
    with pytest.raises(OSError):
        f.close()
    node.mount()
    assert node.read('r.bin') in (pattern(3 * MIB, 1), pattern(2 * MIB, 2), b'')
    eventually(lambda: not backing_files(node), 10, 'the file of the cut-off save is swept')


def test_local_file_that_stays_open_is_stored_soon(node):
    """Also a small one: not only at close and fsync."""
    node.path('.git').mkdir()
    node.write('.git/f', 'old')
    f = opened(node, '.git/f')
    f.write(b'new')
    g = opened(node, '.git/g')
    g.write(b'new')
    stored = node.home / node.database / 'store'
    eventually(lambda: sum(p.read_bytes().count(b'new') for p in stored.glob('*.log')) >= 2, 10,
               'both are stored')
    node.kill9().mount()
    assert node.text('.git/f') == 'new' and node.text('.git/g') == 'new'


def test_fsynced_large_file_survives_kill_and_keeps_its_mode(node):
    fd = os.open(node.path('r.bin'), os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(fd, pattern(1_500_000))
    os.fsync(fd)
    os.fchmod(fd, 0o755)
    node.kill9()
    assert node.mount().read('r.bin') == pattern(1_500_000)
    assert node.path('r.bin').stat().st_mode & 0o777 == 0o755
    eventually(lambda: len(node.log('r.bin')) == 1, 10, 'it is published after the restart')


def test_size_of_a_file_that_was_being_written_is_right_after_kill(node):
    """chmod stores the inode while its content is not stored yet."""
    node.write('r.txt', 'old')
    f = opened(node, 'r.txt')
    f.write(b'much longer than before')
    os.fchmod(f.fileno(), 0o600)
    node.kill9().mount()
    assert node.path('r.txt').stat().st_size == len(node.read('r.txt'))


def test_lost_file_is_told_and_its_record_shown(node):
    node.allow('.*above 1 TiB stays on this device', '.*is lost')
    node.write('r.bin', pattern(2 * MIB))
    eventually(lambda: len(node.log('r.bin')) == 1, 10, 'it is published')
    os.truncate(node.path('r.bin'), 2 << 40)
    node.stop()
    subprocess.run(['rm', '-r', node.home / node.database / 'files'], check=True)
    node.mount()
    assert node.read('r.bin') == pattern(2 * MIB)
