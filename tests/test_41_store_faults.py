"""A disk that is full or fails: the writer hears of it, reads go on, and nothing acknowledged is lost."""
import errno
import os
import subprocess
import threading

import pytest

from blazetest import Node
from blazetest.faults import Fault
from blazetest.wait import eventually, never

EXPECTED = r'blaze (error|warning): .*(store|disk|space|I/O|Input/output).*'


def try_write(node, path, data):
    """None, or the errno with which write(2) or close(2) failed."""
    try:
        node.write(path, data)
    except OSError as e:
        return e.errno
    return None


# ---- a full disk ------------------------------------------------------------------------------------

@pytest.fixture
def small_disk(directory, request):
    """A device whose home is a tmpfs of 96 MB."""
    node = Node(directory, 'small')
    node.home.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=96m,mode=700', 'tmpfs', node.home], check=True)
    yield node.init().mount()
    node.allow(EXPECTED)
    try:
        if not getattr(request.node, 'blaze_failed', False):
            node.close()
    finally:
        node.discard()
        subprocess.run(['umount', '-l', node.home], check=True)


def fill(node, leave=0):
    """A filler file beside the database takes all the room but `leave` bytes."""
    filler = node.home / 'filler'
    with open(filler, 'wb', buffering=0) as f:
        try:
            while True:
                f.write(bytes(1 << 16))
        except OSError:
            pass
    if leave:
        os.truncate(filler, max(0, filler.stat().st_size - leave))
    return filler


@pytest.mark.root
def test_full_disk_refuses_writes_and_goes_on_reading(small_disk):
    node = small_disk
    node.write('before.txt', 'kept' * 1000)
    fill(node)
    data = os.urandom(3 << 20)
    codes = {try_write(node, f'{i}.bin', data) for i in range(8)}
    assert errno.ENOSPC in codes and codes <= {None, errno.ENOSPC}
    assert node.text('before.txt') == 'kept' * 1000 and 'before.txt' in node.names()


@pytest.mark.root
def test_writes_resume_when_there_is_room_again(small_disk):
    node = small_disk
    filler = fill(node)
    data = os.urandom(2 << 20)
    kept = [i for i in range(12) if try_write(node, f'{i}.bin', data) is None]
    assert len(kept) < 12
    filler.unlink()
    eventually(lambda: try_write(node, 'after.json', '{}') is None, 5, 'writes resume')
    node.remount()
    assert node.text('after.json') == '{}' and all(node.read(f'{i}.bin') == data for i in kept)


@pytest.mark.root
@pytest.mark.parametrize('size', [40_000, 600_000])
def test_large_file_meets_a_full_disk(small_disk, size):
    """In its file already, and on the way from memory into one."""
    node = small_disk
    node.path('.git').mkdir()
    node.write('.git/f', b'x' * size)
    filler = fill(node)
    with open(node.path('.git/f'), 'r+b', buffering=0) as f:
        with pytest.raises(OSError) as e:
            os.posix_fallocate(f.fileno(), size, 20 << 20)
        assert e.value.errno == errno.ENOSPC
        f.seek(size)
        with pytest.raises(OSError) as e:
            while True:
                f.write(bytes(1 << 20))
        assert e.value.errno == errno.ENOSPC
        f.truncate(size)
        assert os.pread(f.fileno(), size + 1, 0) == b'x' * size
        filler.unlink()
        eventually(lambda: os.pwrite(f.fileno(), b'y' * (2 << 20), size), 5, 'writes resume')
    assert node.remount().read('.git/f') == b'x' * size + b'y' * (2 << 20)


@pytest.mark.root
def test_deleting_works_on_a_full_disk(small_disk):
    node = small_disk
    node.write('large.bin', os.urandom(2 << 20))
    fill(node)
    while try_write(node, 'more.bin', os.urandom(1 << 20)) is None:
        pass
    os.unlink(node.path('large.bin'))
    assert not node.exists('large.bin')


@pytest.mark.root
def test_full_disk_can_be_mounted_and_read(small_disk):
    node = small_disk
    node.write('before.txt', 'kept')
    node.stop()
    fill(node)
    node.allow(EXPECTED).mount()
    assert node.text('before.txt') == 'kept'


@pytest.mark.root
def test_receiving_pauses_on_a_full_disk_and_catches_up(pair):
    a, b = pair.nodes
    b.stop()
    limited = b.directory / 'limited'
    b.home.rename(limited)
    b.home.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=96m,mode=700', 'tmpfs', b.home], check=True)
    try:
        subprocess.run(['cp', '-a', f'{limited}/.', b.home], check=True)
        receive_on_a_full_disk(pair, a, b.allow(EXPECTED))
    finally:
        b.discard()
        subprocess.run(['umount', '-l', b.home], check=True)


def receive_on_a_full_disk(pair, a, b):
    b.mount()
    pair.synced()
    filler = fill(b)
    for i in range(6):
        a.write(f'{i}.bin', os.urandom(1 << 20))
    a.wait('1s', code=4)
    assert b.names() is not None
    filler.unlink()
    pair.synced(deadline=40)
    b.stop()


# ---- a disk that fails ------------------------------------------------------------------------------

@pytest.fixture
def faulty(disk):
    """(device, switch): switch(rule) makes system calls of its daemon fail, switch(None) stops that."""
    node, fault = disk
    node.allow(EXPECTED)
    return node, lambda rule: fault.set(rule) if rule else fault.clear()


@pytest.mark.parametrize('rule', [f'write {errno.EIO} .log', f'write {errno.ENOSPC} .log'])
def test_failed_write_is_reported_and_healed(faulty, rule):
    node, switch = faulty
    node.write('before.json', '{"n":1}')
    switch(rule)
    codes = {try_write(node, f'during{i}.json', '{"n":2}') for i in range(5)}
    assert codes <= {errno.EIO, errno.ENOSPC} and codes, 'nobody was told'
    assert node.text('before.json') == '{"n":1}'
    switch(None)
    eventually(lambda: try_write(node, 'after.json', '{"n":3}') is None, 5, 'writes resume')
    node.kill9().mount()
    assert node.text('before.json') == '{"n":1}' and node.text('after.json') == '{"n":3}'


@pytest.mark.parametrize('call', ['pwrite', 'fdatasync'])
def test_failing_file_of_large_content_is_reported(faulty, call):
    node, switch = faulty
    node.path('.git').mkdir()
    with open(node.path('.git/f'), 'wb', buffering=0) as f:
        f.write(bytes(1 << 20))
        switch(f'{call} {errno.EIO} /files/')
        with pytest.raises(OSError) as e:
            f.write(b'more')
            os.fsync(f.fileno())
        assert e.value.errno == errno.EIO
        switch(None)
        f.write(b'end')
        os.fsync(f.fileno())
    node.kill9().mount()
    assert node.read('.git/f').endswith(b'end')


@pytest.mark.parametrize('name', ['.git/f', 'r.bin'])
def test_large_file_survives_a_store_that_fails_at_close(faulty, name):
    """The close says so; what was written stays, and is stored when that works again."""
    node, switch = faulty
    node.path('.git').mkdir()
    node.write(name, b'old' * 500_000)
    f = open(node.path(name), 'r+b', buffering=0)
    f.write(b'new')
    switch(f'write {errno.EIO} .log')
    with pytest.raises(OSError):
        f.write(b'NEW')
        os.close(os.dup(f.fileno()))
        os.fsync(f.fileno())
    switch(None)
    f.close()
    assert node.read(name)[:3] == b'new' and len(node.read(name)) == 1_500_000
    eventually(lambda: try_write(node, 'after.json', '{}') is None, 5, 'writes resume')
    assert node.remount().read(name)[:3] == b'new'


def test_acknowledged_after_a_failed_write_is_not_lost(faulty):
    """LevelDB alone goes on acknowledging after an error, and loses it all."""
    node, switch = faulty
    acknowledged = {}
    for i in range(60):
        if i % 10 == 3:
            switch(f'write {errno.EIO} .log')
        if i % 10 == 5:
            switch(None)
        if try_write(node, f'{i}.json', f'{{"n":{i}}}') is None:
            acknowledged[f'{i}.json'] = f'{{"n":{i}}}'
    assert len(acknowledged) > 20
    node.kill9().mount()
    assert {path: node.text(path) for path in acknowledged} == acknowledged


def save_many(node, count, first=0):
    """{path: content} of what was acknowledged; more than goes to LevelDB at once."""
    files = {f'{n}.json': f'{{"n":{n},"text":"{"x" * 400}"}}' for n in range(first, first + count)}
    return {path: data for path, data in files.items() if try_write(node, path, data) is None}


def test_saves_go_on_while_leveldb_waits_for_the_disk(faulty):
    """The journal has them, also those that LevelDB is about to write when the daemon is killed."""
    node, switch = faulty
    switch('write 0 /store/0')
    saved = save_many(node, 1000)
    assert len(saved) == 1000
    assert {path: node.text(path) for path in saved} == saved
    node.kill9()
    switch(None)
    node.mount()
    assert {path: node.text(path) for path in saved} == saved


@pytest.mark.parametrize('healed', [True, False])
def test_what_the_journal_took_outlives_a_leveldb_that_fails(faulty, healed):
    node, switch = faulty
    switch(f'write {errno.EIO} /store/0')
    saved = {}
    while len(saved) < 10_000:
        more = save_many(node, 100, len(saved))
        saved |= more
        if len(more) < 100:
            break
    assert len(saved) < 10_000, 'nobody was told'
    assert try_write(node, 'more.txt', 'more') == errno.EIO
    assert {path: node.text(path) for path in saved} == saved
    if not healed:
        node.kill9()
        switch(None)
        node.mount()
    else:
        switch(None)
        eventually(lambda: try_write(node, 'after.json', '{}') is None, 5, 'writes resume')
        node.kill9().mount()
    assert {path: node.text(path) for path in saved} == saved


@pytest.mark.parametrize('call', ['fsync', 'fdatasync'])
def test_failed_fsync_is_never_reported_as_done(faulty, call):
    node, switch = faulty
    with open(node.path('r.json'), 'w', encoding='utf-8') as f:
        f.write('{"n":1}')
        f.flush()
        switch(f'{call} {errno.EIO} .log')
        if call == 'fdatasync':
            with pytest.raises(OSError):
                os.fsync(f.fileno())
        switch(None)
        eventually(lambda: os.fsync(f.fileno()) is None, 5, 'fsync works again')
    node.kill9().mount()
    assert node.text('r.json') == '{"n":1}'


@pytest.mark.parametrize('times', [1, 3])
def test_what_was_refused_does_not_come_back(faulty, times):
    """The log may hold it: it was flushed that failed, not written."""
    node, switch = faulty
    node.write('b.json', '{"n":0}')
    with open(node.path('a.json'), 'w', encoding='utf-8') as f:
        f.write('{"n":1}')
        f.flush()
        switch(f'fdatasync {errno.EIO} .log')
        with pytest.raises(OSError):
            os.fsync(f.fileno())
        for n in range(times):
            assert try_write(node, 'r.json', f'{{"n":{n}}}') is not None
            assert try_write(node, 'b.json', f'{{"n":{n + 1}}}') is not None
        switch(None)
        eventually(lambda: try_write(node, 'r.json', '{"n":9}') is None, 5, 'writes resume')
    node.kill9().mount()
    assert node.names() == ['a.json', 'b.json', 'r.json']
    assert [node.text(name) for name in ('a.json', 'r.json')] == ['{"n":1}', '{"n":9}']
    assert len(node.log('r.json')) == 1


def test_refused_file_is_not_half_there(faulty):
    node, switch = faulty
    switch(f'write {errno.EIO} .log')
    assert try_write(node, 'refused.json', '{"n":1}') is not None
    switch(None)
    eventually(lambda: try_write(node, 'other.json', '{}') is None, 5)
    node.remount()
    assert not node.exists('refused.json') or node.text('refused.json') in ('', '{"n":1}')


def test_inode_numbers_of_a_refused_file_are_not_given_out_twice(faulty):
    node, switch = faulty
    node.remount()
    switch(f'write {errno.EIO} .log')
    assert try_write(node, 'refused.json', '{"n":1}') is not None  # the first file takes numbers for a thousand
    switch(None)
    eventually(lambda: try_write(node, 'a.json', '{}') is None, 5, 'writes resume')
    for name in 'bcd':
        node.path(name).mkdir()
    node.kill9().mount()
    for name in 'efghij':
        node.write(name, name)
    inodes = {name: node.path(name).stat().st_ino for name in node.names()}
    assert len(set(inodes.values())) == len(inodes), inodes
    assert node.names('b') == [] and node.text('a.json') == '{}'


# ---- which call hears of it -------------------------------------------------------------------------

def attempt(call, *args):
    """None, or the errno with which the call failed."""
    try:
        call(*args)
    except OSError as e:
        return e.errno
    return None


@pytest.mark.parametrize('error', [errno.EIO, errno.ENOSPC])
def test_close_and_fsync_fail_with_the_disks_error(faulty, error):
    node, switch = faulty
    fds = [os.open(node.path(name), os.O_WRONLY | os.O_CREAT, 0o644) for name in ('a.json', 'b.json')]
    for fd in fds:
        assert os.write(fd, b'{"n":1}') == 7
    switch(f'write {error} .log')
    assert attempt(os.fsync, fds[0]) == error
    assert attempt(os.close, fds[1]) == error
    switch(None)
    eventually(lambda: attempt(os.fsync, fds[0]) is None, 5, 'fsync works again')
    os.close(fds[0])
    assert node.kill9().mount().text('a.json') == '{"n":1}'


@pytest.mark.parametrize('error', [errno.EIO, errno.ENOSPC])
def test_every_change_of_names_fails_with_the_disks_error(faulty, error):
    node, switch = faulty
    node.write('a.json', '{}')
    node.sh('mkdir d')
    before = node.tree()
    path = node.path
    switch(f'write {error} .log')
    for call in ((os.mkdir, path('e')), (os.rmdir, path('d')), (os.unlink, path('a.json')),
                 (os.rename, path('a.json'), path('b.json')), (os.symlink, 'a.json', path('l')),
                 (os.chmod, path('a.json'), 0o600), (os.mkfifo, path('f')), (os.truncate, path('a.json'), 0),
                 (os.setxattr, path('a.json'), 'user.k', b'v')):
        assert attempt(*call) == error, call
    assert node.tree() == before
    switch(None)
    eventually(lambda: attempt(os.mkdir, path('e')) is None, 5, 'changes work again')
    node.remount()
    assert node.names() == ['a.json', 'd', 'e']


def test_write_of_a_sync_mount_is_on_disk_when_it_returns(faulty):
    node, switch = faulty
    node.remount(options='sync')
    fd = os.open(node.path('a.json'), os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(fd, b'{"n":1')
    switch(f'fdatasync {errno.EIO} .log')
    assert attempt(os.write, fd, b'}') == errno.EIO
    switch(None)
    eventually(lambda: attempt(os.fsync, fd) is None, 5, 'fsync works again')
    os.close(fd)


def read_until(path, stop, seen):
    """A reader that is always there: opens, reads and closes, so that the record is held for it."""
    while not stop.is_set():
        seen.append(path.read_bytes())


def test_batch_that_fails_while_a_record_is_read_changes_nothing(pair):
    """What readers are shown stays whole, and so does what comes when the disk works again."""
    a, b = pair.nodes
    fault = Fault(b, 'failio')
    b.allow(EXPECTED).remount()
    pair.retarget()
    versions = [letter.encode() * size for letter, size in zip('abcdef', range(50_000, 80_000, 5000))]
    a.write('r.txt', versions[0])
    pair.synced()
    stop, seen = threading.Event(), []
    readers = [threading.Thread(target=read_until, args=(b.path('r.txt'), stop, seen)) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number, version in enumerate(versions[1:]):
        fault.set(f'write {errno.EIO} .log')
        assert try_write(b, 'own.txt', 'x') == errno.EIO
        a.write('r.txt', version)
        never(lambda old=versions[number]: b.read('r.txt') != old or b.path('r.txt').stat().st_size != len(old), 0.4,
              'what is not stored is shown')
        fault.clear()
        eventually(lambda v=version: b.read('r.txt') == v, 20, 'it is taken in when the disk works')
    eventually(lambda: seen[-1] == versions[-1], 20, 'readers see it, too')
    stop.set()
    for reader in readers:
        reader.join(10)
    assert set(seen) == set(versions), 'a reader saw parts of two versions'
    assert b.kill9().mount().read('r.txt') == versions[-1]


def test_mount_ends_although_large_content_cannot_be_taken_apart(faulty):
    """What there is no room for in packs stays in its file; the next start goes on with it."""
    node, switch = faulty
    data = os.urandom(3 << 20)
    switch(f'pwrite {errno.ENOSPC} /chunks/')
    node.write('large.bin', data)
    eventually(lambda: 'could not be cut into chunks' in (node.directory / 'daemon.log').read_text(), 20, 'it was tried')
    node.stop()
    switch(None)
    assert node.mount().read('large.bin') == data
