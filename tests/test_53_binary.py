"""Large content that is not text: only chunks that are missing travel, memory is bounded, a cut costs nothing."""
import ctypes
import errno
import hashlib
import json
import os
import random
import shutil
import subprocess

import pytest

from blazetest import report
from blazetest.wait import eventually, pause

MIB = 1 << 20
SIZE = int(os.environ.get('BLAZE_BULK_MIB', '96')) * MIB
CYCLES = int(os.environ.get('BLAZE_BULK_KILLS', '6'))
LOST = '.blaze/conflicts'
LIBC = ctypes.CDLL(None, use_errno=True)
DEADLINE = 60 + SIZE // MIB // 4


def pattern(size, seed=0):
    return random.Random(seed).randbytes(size)


def memory(node, field='VmHWM'):
    with open(f'/proc/{node.process.pid}/status', encoding='utf-8') as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(field))


def digest(path):
    h = hashlib.sha256()
    with open(path, 'rb') as f:
        while block := f.read(MIB):
            h.update(block)
    return h.hexdigest()


def files_of(node, kind):
    return sum(p.stat().st_blocks * 512 for p in (node.home / node.database / kind).rglob('*') if p.is_file())


def shows(node, path, expected):
    eventually(lambda: node.exists(path) and node.path(path).stat().st_size == len(expected)
               and node.read(path) == expected, DEADLINE, f'{node.name} shows {path}')


def traffic(pair, act):
    """Bytes over the wire for what act does."""
    pair.synced(deadline=DEADLINE)
    before = pair.proxy().passed
    act()
    pair.synced(deadline=DEADLINE)
    return pair.proxy().passed - before


# ---- a large file -----------------------------------------------------------------------------------

@pytest.mark.timeout(60 + DEADLINE * 4)
def test_json_of_a_hundred_megabytes(pair):
    a, b = pair.nodes
    idle = [memory(n, 'VmRSS') for n in (a, b)]
    with open(a.path('big.json'), 'wb') as f:
        f.write(b'[\n')
        for i in range(0, 900000, 1000):
            f.write(b''.join(b'{"id": %d, "text": "%0100d"},\n' % (n, n) for n in range(i, i + 1000)))
        f.write(b'{}]\n')
        assert f.tell() > 100 << 20
    expected = digest(a.path('big.json'))
    pair.synced(deadline=DEADLINE)
    assert digest(b.path('big.json')) == expected
    if report.PRESET not in ('asan', 'tsan'):
        assert all(memory(n) <= i + 128 * MIB for n, i in zip((a, b), idle))
    for node in (a, b):
        assert 'big.json  JSON of more than 16 MiB: kept as one value' in node.run('status', '--check').stdout
        assert 'MB, JSON of more than 16 MiB: kept as one value' in node.run('log', 'big.json', cwd=node.mnt).stdout
    assert 'big.json: JSON of more than 16 MiB' in (a.directory / 'daemon.log').read_text(encoding='utf-8')


@pytest.mark.timeout(60 + DEADLINE * 4)
def test_large_file_in_bounded_memory(pair):
    a, b = pair.nodes
    idle = [memory(n, 'VmRSS') for n in (a, b)]
    blocks = [pattern(MIB, seed) for seed in range(7)]
    with open(a.path('film.bin'), 'wb') as f:
        for i in range(SIZE // MIB):
            if i % 16 in (5, 6, 7):
                f.seek(MIB, 1)  # a hole
            else:
                f.write(blocks[i % 7][:-8] + i.to_bytes(8, 'big'))
        f.truncate(SIZE)
    expected = digest(a.path('film.bin'))
    pair.synced(deadline=DEADLINE)
    assert digest(b.path('film.bin')) == expected and b.path('film.bin').stat().st_size == SIZE
    peak = [memory(n) for n in (a, b)]
    print(f'idle {idle}, peak {peak}')
    if report.PRESET not in ('asan', 'tsan'):
        assert all(p <= i + 128 * MIB for p, i in zip(peak, idle))
    for node in (a, b):  # once, not three times; and holes take no room
        assert files_of(node, 'chunks') + files_of(node, 'files') < SIZE * 14 // 16
        assert node.remount(listen=node.listen).path('film.bin').stat().st_size == SIZE
        assert digest(node.path('film.bin')) == expected
    pair.retarget()


def test_small_changes_overtake(pair):
    a, b = pair.nodes
    pair.proxy().delay = 0.02  # some 3 MiB a second
    a.write('film.bin', pattern(24 * MIB))
    eventually(lambda: b.status()['arriving']['files'] == 1, 20, 'the file is on its way')
    for i in range(5):
        a.write('note.json', '{"n": %d}' % i)
        eventually(lambda: b.exists('note.json') and b.text('note.json') == '{"n": %d}' % i, 10)
    assert not b.exists('film.bin') and b.status()['arriving']['files'] == 1
    assert a.run('wait', '--timeout', '1ms', code=None).returncode != 0  # its bytes are not there
    pair.proxy().delay = 0
    pair.synced(deadline=DEADLINE)
    assert b.read('film.bin') == pattern(24 * MIB) and b.status()['arriving']['files'] == 0


# ---- what travels -----------------------------------------------------------------------------------

def test_only_what_is_new_travels(pair):
    a, b = pair.nodes
    size = 40 * MIB
    data = bytearray(pattern(size))
    assert size < traffic(pair, lambda: a.write('f.bin', bytes(data))) < size * 1.05
    assert traffic(pair, lambda: shutil.copy(a.path('f.bin'), a.path('copy.bin'))) < 64 * 1024
    assert b.read('copy.bin') == data
    data[:0] = b'!'
    assert traffic(pair, lambda: a.write('f.bin', bytes(data))) < 600_000
    assert b.read('f.bin') == data
    data += b'one line more\n'
    assert traffic(pair, lambda: a.sh('echo "one line more" >> f.bin')) < 400_000
    assert b.read('f.bin') == data

    def in_place():
        with open(b.path('f.bin'), 'r+b') as f:
            for at in (100, 20 * MIB, size - 5):
                f.seek(at)
                f.write(b'changed')
                data[at:at + 7] = b'changed'
    assert traffic(pair, in_place) < 1_500_000
    assert a.read('f.bin') == b.read('f.bin') == data
    assert traffic(pair, lambda: os.truncate(a.path('f.bin'), 10 * MIB)) < 400_000
    assert b.read('f.bin') == data[:10 * MIB]
    assert traffic(pair, lambda: os.rename(b.path('copy.bin'), b.path('moved.bin'))) < 20_000
    assert 'chunks new' in a.log('f.bin')[-2]['summary'] and '10.5 MB' in a.log('f.bin')[-1]['summary']


def test_rename_over_and_into_another_collection(pair):
    a, b = pair.nodes
    a.write('x/f.bin', pattern(6 * MIB, 1))
    a.write('x/next.bin', pattern(6 * MIB, 2))
    pair.synced()
    os.rename(a.path('x/next.bin'), a.path('x/f.bin'))
    pair.synced()
    assert b.read('x/f.bin') == pattern(6 * MIB, 2)
    os.mkdir(a.path('y'))
    assert traffic(pair, lambda: os.rename(a.path('x/f.bin'), a.path('y/f.bin'))) < 64 * 1024
    assert b.read('y/f.bin') == pattern(6 * MIB, 2) and not b.exists('x/f.bin')
    a.sh('mkdir .git; mv y/f.bin .git/f; mv .git/f y/g.bin; rmdir .git')
    pair.synced()
    assert b.read('y/g.bin') == pattern(6 * MIB, 2)


def test_cut_in_the_middle_goes_on_where_it_stopped(pair):
    a, b = pair.nodes
    size = 32 * MIB
    data = pattern(size)
    before = pair.proxy().passed
    pair.proxy().delay = 0.003
    a.write('f.bin', data)
    for part in (1, 2, 3):
        eventually(lambda p=part: pair.proxy().passed - before > p * 6 * MIB, 30, 'some of it has passed')
        pair.cut()
        assert not b.exists('f.bin')
        if part == 2:
            b.remount()
        if part == 3:
            b.kill9().mount()
        pair.restore()
    pair.proxy().delay = 0
    pair.synced(deadline=DEADLINE)
    assert b.read('f.bin') == data
    assert pair.proxy().passed - before < size * 1.05 + 3 * 6 * MIB  # a cut costs at most what was under way


def test_through_the_device_in_the_middle(clusters):
    cluster = clusters(3)
    hub, b, c = cluster.nodes
    data = pattern(12 * MIB)
    cluster.cut(c)
    b.write('f.bin', data)
    shows(hub, 'f.bin', data)
    cluster.cut(b)
    cluster.restore(c)
    shows(c, 'f.bin', data)
    cluster.restore(b)
    cluster.synced()


# ---- versions ---------------------------------------------------------------------------------------

@pytest.mark.parametrize('size', [300_000, 9 * MIB])
def test_loser_of_a_concurrent_write_is_a_file(pair, size):
    a, b = pair.nodes
    a.write('d/f.bin', b'\0' + pattern(size, 1))
    pair.synced()
    pair.cut()
    versions = [b'\0' + pattern(size, 2), b'\0' + pattern(size + 5, 3)]
    for node, version in zip(pair.nodes, versions):
        node.write('d/f.bin', version)
        shows(node, 'd/f.bin', version)
    pair.restore()
    pair.synced(deadline=DEADLINE)
    shown = a.read('d/f.bin')
    lost = versions[1 - versions.index(shown)]
    name = f'device-{pair.nodes[versions.index(lost)].name}'
    for node in (a, b):
        eventually(lambda n=node: n.exists(f'{LOST}/d') and n.names(f'{LOST}/d') == [f'f.bin@{name}'], 10, 'the loser is shown')
        path = node.path(f'{LOST}/d/f.bin@{name}')
        assert path.stat().st_size == len(lost) and path.read_bytes() == lost


def test_last_version_is_shown_until_the_next_is_whole(pair):
    a, b = pair.nodes
    old, new = pattern(3 * MIB, 1), pattern(20 * MIB, 2)
    a.write('f.bin', old)
    pair.synced()
    pair.proxy().delay = 0.01
    a.write('f.bin', new)
    eventually(lambda: b.status()['arriving']['files'] == 1, 20)
    for _ in range(5):
        assert b.read('f.bin') == old, 'half a version is shown'
    assert b.status()['arriving']['files'] == 1
    pair.proxy().delay = 0
    shows(b, 'f.bin', new)


def test_text_becomes_binary_and_back(pair):
    a, b = pair.nodes
    for content in (b'text\n', pattern(2 * MIB), b'text again\n', pattern(5 * MIB, 1), b''):
        a.write('f', content)
        pair.synced()
        shows(b, 'f', content)


@pytest.mark.timeout(60 + CYCLES * 20)
def test_kill_9_of_either_side(pair):
    """What was closed is there; what arrives is whole; both end with the same."""
    a, b = pair.nodes
    rnd = random.Random(CYCLES)
    closed = {}
    for cycle in range(CYCLES):
        node = pair.nodes[cycle % 2]
        name = f'{rnd.randrange(3)}.bin'
        content = pattern(rnd.randrange(MIB // 2, 8 * MIB), cycle)
        node.write(name, content)
        closed.setdefault(name, []).append(content)
        pause(rnd.uniform(0, 0.4))
        victim = rnd.choice(pair.nodes)
        if victim is a:
            a.kill9().mount(listen=a.listen)
            pair.retarget()
        else:
            b.kill9().mount()
        assert node.read(name) == content or victim is not node
        for n in pair.nodes:
            for name, versions in closed.items():
                # Who reads for longer than a moment may see the next version begin, as on a local disk.
                eventually(lambda m=n, p=name, w=versions: not m.exists(p) or m.read(p) in w, 20,
                           f'{n.name} shows one of the versions of {name}, whole')
    pair.synced(deadline=DEADLINE)
    for name, versions in closed.items():
        assert a.read(name) in versions


# ---- bad luck ---------------------------------------------------------------------------------------

@pytest.mark.root
def test_full_disk_of_the_receiver(pair):
    a, b = pair.nodes
    b.stop()
    copy = b.home.with_name('home-copy')
    shutil.copytree(b.home, copy)
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=160m,mode=700', 'tmpfs', b.home], check=True)
    try:
        shutil.copytree(copy, b.home, dirs_exist_ok=True)
        filler = b.home / 'filler'
        with open(filler, 'wb') as f:
            f.write(bytes(80 * MIB))
        b.allow('.*[Nn]o space left.*', '.*could not be (stored|flushed).*')
        a.allow('.*')
        b.mount()
        data = pattern(70 * MIB)
        a.write('f.bin', data)
        eventually(lambda: files_of(b, 'chunks') > 20 * MIB, 30, 'some of it came')
        eventually(lambda: os.statvfs(b.home).f_bavail * 4096 < 12 * MIB, 30, 'the disk is full')
        assert not b.exists('f.bin')
        b.kill9()
        filler.unlink()
        b.mount()
        shows(b, 'f.bin', data)
        b.stop()
    finally:
        b.discard()
        subprocess.run(['umount', '-l', b.home], check=True)


def test_damaged_chunk_is_an_error_and_not_wrong_bytes(node):
    data = pattern(4 * MIB)
    node.write('f.bin', data)
    eventually(lambda: files_of(node, 'chunks') > 0 and files_of(node, 'files') == 0, 10)
    node.stop()
    pack = next((node.home / node.database / 'chunks').iterdir())
    with open(pack, 'r+b') as f:
        f.seek(2 * MIB)
        f.write(b'rot')
    node.allow('.*is damaged: wrong content at byte .*')
    node.mount()
    with pytest.raises(OSError) as e:
        node.read('f.bin')
    assert e.value.errno == errno.EIO


def damaged(node):
    return json.loads(node.text('.blaze/status.json'))['arriving']['damaged']


def test_damaged_chunk_is_fetched_again_from_a_peer(pair):
    a, b = pair.nodes
    data = pattern(4 * MIB, 9)
    a.write('f.bin', data)
    pair.synced(deadline=DEADLINE)
    shows(b, 'f.bin', data)
    b.stop()
    pack = next((b.home / b.database / 'chunks').iterdir())
    with open(pack, 'r+b') as f:  # one bit
        f.seek(2 * MIB)
        bit = f.read(1)[0] ^ 16
        f.seek(2 * MIB)
        f.write(bytes([bit]))
    b.allow(f".*chunks/{pack.name}' is damaged: wrong content at byte .*")
    a.stop()
    b.mount()
    with pytest.raises(OSError) as e:
        b.read('f.bin')
    assert e.value.errno == errno.EIO
    eventually(lambda: damaged(b) == 1, DEADLINE, 'status says so')
    b.stop()  # it is not forgotten
    b.mount()
    assert damaged(b) == 1 and '1 chunk of large files is damaged' in b.text('.blaze/status')
    a.mount()
    eventually(lambda: damaged(b) == 0, DEADLINE, 'it was fetched')
    assert b.read('f.bin') == data
    b.stop()
    b.mount()
    assert b.read('f.bin') == data


def change(f, data, rnd):
    """One random change of an open file, and of what it should be."""
    at, length = rnd.randrange(len(data) + 100_000), rnd.randrange(1, 300_000)
    what = rnd.choice(['write', 'write', 'write', 'append', 'cut', 'grow', 'punch'])
    if what == 'append':
        at = len(data)
    if what in ('write', 'append'):
        piece = rnd.randbytes(length)
        os.pwrite(f, piece, at)
        data.extend(bytes(max(0, at - len(data))))
        data[at:at + length] = piece
    elif what == 'cut':
        del data[max(MIB, len(data) - length):]
        os.ftruncate(f, len(data))
    elif what == 'grow':
        data.extend(bytes(length))
        os.ftruncate(f, len(data))
    elif at < len(data):
        end = min(len(data), at + length)
        assert LIBC.fallocate(f, 3, ctypes.c_int64(at), ctypes.c_int64(end - at)) == 0
        data[at:end] = bytes(end - at)


@pytest.mark.parametrize('seed', range(int(os.environ.get('BLAZE_RANDOM_SEEDS', '4'))))
def test_random_changes_in_place(pair, seed):
    """A file that is partly in chunks reads as on a local disk, after kill -9 too, and elsewhere."""
    a, b = pair.nodes
    rnd = random.Random(seed)
    data = bytearray(rnd.randbytes(3 * MIB))
    a.write('f.bin', bytes(data))
    for _ in range(12):
        if rnd.random() < 0.5:
            pair.synced(deadline=DEADLINE)
            assert b.read('f.bin') == data
        f = os.open(a.path('f.bin'), os.O_RDWR)
        for _ in range(rnd.randrange(1, 6)):
            change(f, data, rnd)
            at = rnd.randrange(len(data))
            assert os.pread(f, 400_000, at) == data[at:at + 400_000]
        if rnd.random() < 0.3:
            os.fsync(f)
        os.close(f)
        if rnd.random() < 0.3:
            a.kill9().mount(listen=a.listen)
            pair.retarget()
        assert a.read('f.bin') == data
        if rnd.random() < 0.2:  # stays on the device for a while
            a.sh('mkdir -p .git; mv f.bin .git/f.bin')
            with open(a.path('.git/f.bin'), 'r+b') as g:
                g.write(b'local')
            data[:5] = b'local'
            a.sh('mv .git/f.bin f.bin; rmdir .git')
            assert a.read('f.bin') == data
    pair.synced(deadline=DEADLINE)
    assert b.read('f.bin') == data


def test_more_writes_apart_than_are_remembered(pair):
    a, b = pair.nodes
    data = bytearray(pattern(6 * MIB))
    a.write('f.bin', bytes(data))
    pair.synced()
    with open(a.path('f.bin'), 'r+b', buffering=0) as f:
        for at in range(0, len(data), 4096):
            f.seek(at)
            f.write(b'x')
            data[at] = ord('x')
        f.seek(0)
        assert f.read() == data
    pair.synced(deadline=DEADLINE)
    assert b.read('f.bin') == data


def test_a_line_at_the_end_copies_nothing(pair):
    a, _ = pair.nodes
    a.write('log.bin', pattern(24 * MIB))
    pair.synced(deadline=DEADLINE)
    with open(a.path('log.bin'), 'ab', buffering=0) as f:
        f.write(b'one line more\n')
        assert files_of(a, 'files') < MIB
    pair.synced(deadline=DEADLINE)
    assert files_of(a, 'chunks') < 25 * MIB and files_of(a, 'files') == 0
