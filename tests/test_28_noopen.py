"""`-o noopen`: the daemon sees no opens and no closes, and files behave all the same."""
import ctypes
import json
import mmap
import os
import subprocess

import pytest

from blazetest.node import BUILD
from blazetest.wait import SCALE, eventually, never
from blazetest.watch import Watch


@pytest.fixture
def node(device):
    return device.init().mount(options='noopen')


@pytest.fixture
def pair(clusters):
    """Only the first device does without opens."""
    made = clusters(2)
    made.nodes[0].stop()
    made.nodes[0].mount(options='noopen', listen=made.nodes[0].listen)
    made.retarget()
    made.synced()
    return made


def log_is(node, path, count):
    eventually(lambda: len(node.log(path)) == count, 10, f'{path} has {count} changes')


def is_record(node, path):
    try:
        return os.getxattr(node.path(path), 'blaze.id')
    except OSError:
        return False


def test_what_is_written_is_read(node):
    path = node.write('r.json', '{"n":1}')
    assert node.text('r.json') == '{"n":1}' and path.stat().st_size == 7
    with open(path, 'a', encoding='utf-8') as f:
        f.write('\n')
    assert node.text('r.json') == '{"n":1}\n'
    node.write('r.json', '{}')
    assert node.text('r.json') == '{}' and path.stat().st_size == 2
    os.truncate(path, 1)
    assert node.text('r.json') == '{'
    with open(path, 'r+b') as f:
        f.truncate(0)
        assert f.read() == b'' and path.stat().st_size == 0
        f.write(b'{"m":2}')
    assert node.text('r.json') == '{"m":2}'


def test_shorter_content_leaves_nothing_of_the_longer(node):
    """The kernel sends a truncation of its own for O_TRUNC here."""
    node.write('a.txt', 'x' * 200)
    log_is(node, 'a.txt', 1)
    node.sh('printf short > a.txt')
    assert node.text('a.txt') == 'short'
    log_is(node, 'a.txt', 2)
    assert node.remount(options='noopen').text('a.txt') == 'short'


def test_a_save_is_one_change_when_it_is_quiet(node):
    with open(node.path('r.json'), 'w', encoding='utf-8') as f:
        for n in range(10):
            f.write(f'{" " if n else "["}{n}{"," if n < 9 else "]"}')
            f.flush()
    log_is(node, 'r.json', 1)
    assert json.loads(node.text('r.json')) == list(range(10))


def test_half_of_a_record_waits_for_the_other(node):
    fd = os.open(node.path('r.json'), os.O_WRONLY | os.O_CREAT)
    os.write(fd, b'{"n":')
    never(lambda: is_record(node, 'r.json'), 0.3, 'half of it is a change')
    os.write(fd, b'1}')
    os.close(fd)
    log_is(node, 'r.json', 1)


def test_what_is_synced_and_stays_open_is_a_change(node):
    fd = os.open(node.path('r.json'), os.O_WRONLY | os.O_CREAT)
    for n in range(3):
        os.pwrite(fd, b'{"n":%d}' % n, 0)
        os.fsync(fd)
        log_is(node, 'r.json', n + 1)
    os.close(fd)


@pytest.mark.parametrize('size', [100, 100_000, 300_000, 3_000_000])
def test_what_write_returned_survives_kill_9(node, size):
    """Stricter than close, which nobody tells of."""
    for name in ('record.txt', '.local.swp'):
        fd = os.open(node.path(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for at in range(0, size, 8192):
            os.write(fd, b'%07d\n' % at * 1024)
    os.write(fd, b'end')
    seen = {name: node.path(name).stat().st_size for name in ('record.txt', '.local.swp')}
    node.kill9().mount(options='noopen')
    for name, length in seen.items():
        content = node.read(name)
        assert len(content) == length and content[:8192] == b'%07d\n' % 0 * 1024
    assert content.endswith(b'end')
    eventually(lambda: node.log('record.txt') and node.status()['state'] != 'syncing', 10, 'it is a change')


def test_a_created_name_and_a_truncation_survive_kill_9(node):
    node.write('full', 'x')
    node.sh('touch empty; : > full')
    node.kill9().mount(options='noopen')
    assert node.names() == ['empty', 'full'] and node.text('full') == ''


def test_saves_keep_the_record(node):
    node.write('r.json', '{"n":1}')
    log_is(node, 'r.json', 1)
    identity = node.xattr('r.json', 'blaze.id')
    saves = ['printf \'{"n":2}\' > r.tmp && mv r.tmp r.json',
             'sed -i s/2/3/ r.json',
             'mv r.json r.json~ && printf \'{"n":4}\' > r.json && rm r.json~',
             'rm r.json && printf \'{"n":5}\' > r.json',
             'perl -i.bak -pe s/5/6/ r.json && rm r.json.bak']
    for number, save in enumerate(saves, 2):
        node.sh(save)
        log_is(node, 'r.json', number)
        assert node.text('r.json') == f'{{"n":{number}}}'.replace('"n":7', '"n":6')
    assert node.xattr('r.json', 'blaze.id') == identity
    node.write('r.json', node.text('r.json'))
    never(lambda: len(node.log('r.json')) != len(saves) + 1, 0.3, 'the same bytes are a change')


def test_removed_files_stay_readable_while_they_are_open(node):
    for name, size in (('small', 10), ('large', 2_000_000)):
        node.write(name, 'x' * size)
        log_is(node, name, 1)
        with open(node.path(name), 'r+b') as f:
            os.unlink(node.path(name))
            drop_pages(f.fileno())
            assert f.read() == b'x' * size
            f.write(b'more')
            f.flush()
            node.write('later', name)
            log_is(node, 'later', 2 if name == 'large' else 1)  # so it is quiet
            drop_pages(f.fileno())
            assert os.pread(f.fileno(), 100, size) == b'more' and os.fstat(f.fileno()).st_nlink == 0
    node.write('small', 'new')
    assert node.text('small') == 'new'


def drop_pages(fd):
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def test_a_file_replaced_under_a_reader_stays_what_it_was(node):
    node.write('r.txt', 'old')
    with open(node.path('r.txt'), 'rb') as f:
        node.write('r.tmp', 'new')
        os.rename(node.path('r.tmp'), node.path('r.txt'))
        drop_pages(f.fileno())
        assert f.read() == b'old' and node.text('r.txt') == 'new'


def test_exclusive_creation_has_one_winner(node):
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    fd = os.open(node.path('lock'), flags)
    with pytest.raises(FileExistsError):
        os.open(node.path('lock'), flags)
    os.close(fd)


def test_shared_mappings_and_holes(node):
    with open(node.path('m.txt'), 'w+b') as f:
        f.truncate(8192)
        with mmap.mmap(f.fileno(), 8192) as m:
            m[4096:4100] = b'here'
            m.flush()
        assert os.pread(f.fileno(), 4, 4096) == b'here'
        os.posix_fallocate(f.fileno(), 0, 10000)
        assert os.lseek(f.fileno(), 0, os.SEEK_HOLE) == 10000
        libc = ctypes.CDLL(None, use_errno=True)
        punch = 1 | 2
        assert libc.fallocate(f.fileno(), punch, ctypes.c_long(4096), ctypes.c_long(2)) == 0
        assert os.pread(f.fileno(), 4, 4096) == b'\0\0re'
        with open(node.path('copy.txt'), 'wb') as to:
            assert os.copy_file_range(f.fileno(), to.fileno(), 10000, 0) > 0
    assert node.read('copy.txt') == node.read('m.txt')
    assert node.remount(options='noopen').read('m.txt')[4096:4100] == b'\0\0re'


def records_in(path):
    """Neither cut off nor padded: else it is no JSON."""
    with open(path, encoding='utf-8') as f:
        text = f.read()
    assert text.endswith('}\n')
    return json.loads(text)['records']


def test_what_the_mount_says_is_never_stale_or_cut(node):
    """Nothing can be opened past the page cache, so that has to be dropped when what is said changes."""
    for n in range(30):
        node.write(f'{n}.json', '{}')
        said = node.path('.blaze/status.json')
        eventually(lambda count=n + 1, said=said: records_in(said) == count, 10)
    assert node.text('.blaze/version').strip() and node.text('.blaze/README').endswith('.\n')
    with pytest.raises(PermissionError):
        node.path('.blaze/status').write_text('x', encoding='utf-8')
    fd = os.open(node.path('.blaze/README'), os.O_RDONLY)
    assert os.lseek(fd, 0, os.SEEK_END) == len(node.read('.blaze/README'))
    os.close(fd)


def test_a_remote_change_is_seen_and_merges_with_a_stale_save(pair):
    a, b = pair.nodes
    a.write('r.json', '{"x":1,"y":1}\n')
    pair.synced()
    assert a.text('r.json') == b.text('r.json')
    with open(a.path('r.json'), encoding='utf-8') as f:
        read = json.load(f)
        b.write('r.json', '{"x":1,"y":2}\n')
        eventually(lambda: os.pread(f.fileno(), 100, 0) == b'{"x":1,"y":2}\n', 10)
    pair.synced()
    read['x'] = 3
    a.write('r.json', json.dumps(read | {'y': 2}))
    pair.synced()
    assert json.loads(b.text('r.json')) == {'x': 3, 'y': 2}


def test_an_editor_that_read_before_a_remote_change_does_not_undo_it(pair):
    """Its own readings are not seen, if the kernel had the pages: what those held counts."""
    a, b = pair.nodes
    a.write('r.json', '{"x":1,"y":1}\n')
    pair.synced()
    editor = subprocess.Popen(['sh', '-c', 'cat r.json; read go; printf \'{"x":3,"y":1}\\n\' > r.json'], cwd=a.mnt,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert editor.stdout.readline() == b'{"x":1,"y":1}\n'
    b.write('r.json', '{"x":1,"y":2}\n')
    eventually(lambda: a.path('r.json').stat().st_mtime > 0 and b.status()['state'] == 'synced', 10)
    b.wait('10s')
    editor.communicate(b'\n')
    log_is(a, 'r.json', 3)
    pair.synced()
    assert json.loads(b.text('r.json')) == {'x': 3, 'y': 2} == json.loads(a.text('r.json'))


def test_watchers_are_told_once_of_remote_changes_and_of_own_ones(pair):
    a, b = pair.nodes
    b.write('d/old', '1')
    pair.synced()
    with Watch(a.path('d')) as watch:
        a.names('d')
        b.write('d/new.txt', '1')
        pair.synced()
        watch.sees('CREATE new.txt')
        b.write('d/new.txt', '22')
        pair.synced()
        watch.sees('MODIFY new.txt')
        os.unlink(b.path('d/old'))
        watch.sees('DELETE old')
        a.write('d/own', 'x')
        watch.sees('CLOSE_WRITE own')
        assert watch.events().count('CREATE own') == 1
    assert a.text('d/new.txt') == '22'


def test_real_trees_work(node):
    node.sh('mkdir t && for n in $(seq 50); do echo $n > t/f$n; done && tar -cf t.tar t && rm -r t && tar -xf t.tar'
            ' && git init -q g && cp -r t g && cd g && git add . && git -c user.name=x -c user.email=x@example.org'
            ' commit -qm x && git status --porcelain > ../clean && git fsck 2> /dev/null')
    assert node.text('clean') == '' and node.text('t/f50') == '50\n' and len(node.names('g/t')) == 50
    node.sh('sqlite3 x.db "pragma journal_mode=wal; create table t(a); insert into t values(1)" > /dev/null'
            ' || python3 -c "import sqlite3; c=sqlite3.connect(\'x.db\'); c.execute(\'pragma journal_mode=wal\');'
            ' c.execute(\'create table t(a)\'); c.execute(\'insert into t values(1)\'); c.commit()"')
    assert node.path('x.db').stat().st_size > 0


@pytest.mark.root
@pytest.mark.timeout(240)
@pytest.mark.parametrize('seed, where', [(11, '.'), (12, 'a'), (13, 'c.tmp')])
def test_random_operations_end_as_on_tmpfs(device, directory, seed, where):
    reference = directory / 'reference'
    reference.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'nosuid,nodev', 'none', reference], check=True)
    try:
        device.init().mount(options='allow_other,noopen')
        for root in (device.mnt, reference):
            (root / where).mkdir(exist_ok=True)
        argv = [BUILD / 'tests' / 'posix' / 'lockstep', '-l', '-o', '-s', str(seed), device.path(where), reference / where]
        for count in (12000 // SCALE, 0):
            said = subprocess.run([*argv, '-n', str(count)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  check=False, text=True, errors='replace')
            assert said.returncode == 0, said.stdout[-20000:]
            device.remount(options='allow_other,noopen')
    finally:
        subprocess.run(['umount', '-l', reference], check=True)


@pytest.mark.parametrize('name', ['record.json', 'local.tmp'])
def test_one_file_read_written_mapped_and_cut_at_random(node, name):
    subprocess.run([BUILD / 'tests' / 'posix' / 'exerciser', '-n', str(10000 // SCALE), node.path(name)], check=True)
