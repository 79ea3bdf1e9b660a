"""What no program should do, and some do: the right errno, and nothing else is disturbed."""
import errno
import os
import resource
import signal
import subprocess
import sys
import threading

import pytest

from blazetest.wait import eventually

FAR = 2**63 - 1
TOO_LONG = 'n' * 256


def fails(number):
    return pytest.raises(OSError, match=rf'\[Errno {number}\]')


@pytest.fixture
def bystander(node):
    """A record and a local file that have to be there, unchanged, after the test."""
    node.write('bystander/record.json', '{"n":1}')
    node.write('bystander/local.tmp', 'local')
    before = node.tree('bystander')
    yield node
    assert node.tree('bystander') == before
    assert node.remount().tree('bystander') == before


# ---- names ------------------------------------------------------------------------------------------

def test_rm_rf_of_a_tree_that_is_open(bystander):
    node = bystander
    node.sh('for d in 1 2 3; do mkdir -p tree/$d/.git/x; for f in $(seq 30); do echo $f > tree/$d/$f.json; '
            'echo $f > tree/$d/.git/x/$f; done; done; ln -s . tree/self; mkfifo tree/pipe')
    with open(node.path('tree/1/1.json'), 'rb') as f, open(node.path('tree/2/.git/x/2'), 'rb') as g:
        node.sh('rm -rf tree')
        assert (f.read(), g.read()) == (b'1\n', b'2\n')
    assert node.names() == ['bystander']


@pytest.mark.parametrize('name', ['a.json', 'a.tmp', 'folder'])
def test_moving_something_onto_itself_changes_nothing(bystander, name):
    path = bystander.path(name)
    if name == 'folder':
        bystander.write('folder/inner', 'x')
    else:
        bystander.write(name, '{}')
    before = path.stat()
    os.rename(path, path)
    assert path.stat() == before
    assert subprocess.run(['mv', path, path], capture_output=True, check=False).returncode == 1
    with fails(errno.EINVAL if name == 'folder' else errno.ENOTDIR):
        os.rename(path, path / 'below')


def test_loops_of_links(bystander):
    os.symlink('b', bystander.path('a'))
    os.symlink('a', bystander.path('b'))
    os.symlink('self/self', bystander.path('self'))
    for name in ('a', 'self', 'a/x'):
        path = bystander.path(name)
        for call in (os.stat, os.listdir, os.mkdir if '/' in name else os.chdir, lambda p: open(p, 'w'),
                     lambda p: os.truncate(p, 0), lambda p: os.chmod(p, 0o600)):
            with fails(errno.ELOOP):
                call(path)
    assert bystander.names() == ['a', 'b', 'bystander', 'self']


@pytest.mark.parametrize('call', ['open', 'mkdir', 'mkfifo', 'symlink', 'link', 'rename', 'rename from', 'stat',
                                  'unlink', 'rmdir', 'truncate', 'chmod', 'utime', 'readlink', 'access'])
def test_names_of_256_bytes(bystander, call):
    there, long = bystander.path('bystander/local.tmp'), bystander.path(f'bystander/{TOO_LONG}')
    calls = {'open': lambda: open(long, 'w'), 'mkdir': lambda: os.mkdir(long), 'mkfifo': lambda: os.mkfifo(long),
             'symlink': lambda: os.symlink('x', long), 'link': lambda: os.link(there, long),
             'rename': lambda: os.rename(there, long), 'rename from': lambda: os.rename(long, there),
             'stat': lambda: os.stat(long), 'unlink': lambda: os.unlink(long), 'rmdir': lambda: os.rmdir(long),
             'truncate': lambda: os.truncate(long, 0), 'chmod': lambda: os.chmod(long, 0o600),
             'utime': lambda: os.utime(long), 'readlink': lambda: os.readlink(long),
             'access': lambda: os.stat(long, follow_symlinks=False)}
    with fails(errno.ENAMETOOLONG):
        calls[call]()


def test_directories_as_deep_as_a_program_goes(bystander):
    top = os.open(bystander.mnt, os.O_RDONLY)
    at = os.dup(top)
    for _ in range(600):
        os.mkdir('deep', dir_fd=at)
        below = os.open('deep', os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open('record.json', os.O_CREAT | os.O_WRONLY, dir_fd=at))
    assert os.listdir(at) == ['record.json']
    os.close(at)
    os.close(top)
    with fails(errno.ENAMETOOLONG):
        os.stat(bystander.path('deep/' * 1000))
    bystander.sh('rm -rf deep')
    assert bystander.names() == ['bystander']


# ---- contents ---------------------------------------------------------------------------------------

@pytest.mark.parametrize('name', ['far.json', 'far.tmp'])
def test_offsets_at_the_end_of_the_world(bystander, name):
    with open(bystander.write(name, '{"a":1}'), 'r+b', buffering=0) as f:
        fd = f.fileno()
        assert os.lseek(fd, FAR, os.SEEK_SET) == FAR
        for offset in (FAR - 1, FAR - 4096, 2**62):
            assert os.pread(fd, 1, offset) == b'', f'pread at {offset}'
        with fails(errno.EFBIG):
            os.posix_fallocate(fd, FAR - 1, 2)
        try:
            os.pwrite(fd, b'x', FAR - 1)
            os.ftruncate(fd, 7)  # the disk below takes files of any size: tmpfs
        except OSError as e:
            assert e.errno == errno.EFBIG
        for call in (lambda: os.pread(fd, 1, -1), lambda: os.pwrite(fd, b'x', -1), lambda: os.ftruncate(fd, -1),
                     lambda: os.posix_fallocate(fd, -1, 1), lambda: os.posix_fallocate(fd, 0, 0)):
            with fails(errno.EINVAL):
                call()
        assert os.fstat(fd).st_size == 7 and os.pread(fd, 100, 0) == b'{"a":1}'


def test_a_program_that_opens_10000_files(bystander):
    script = '''
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (10100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
os.mkdir('many')
fds = [os.open(f'many/{n % 3000}.{"json" if n % 2 else "tmp"}', os.O_CREAT | os.O_RDWR) for n in range(10000)]
for n in range(3000):
    os.pwrite(fds[n], b'{"n":%d}' % n, 0)
assert all(os.pread(fd, 100, 0) == b'{"n":%d}' % (n % 3000) for n, fd in enumerate(fds))
'''
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 10100:
        pytest.skip('this user may not open 10,000 files')
    subprocess.run([sys.executable, '-c', script], cwd=bystander.mnt, check=True, timeout=100)
    assert len(bystander.names('many')) == 3000
    assert bystander.text('many/2999.json') == '{"n":2999}' and bystander.text('many/2998.tmp') == '{"n":2998}'


def test_64_threads_write_one_record(bystander):
    path = bystander.write('one.json', ' ' * 6400)
    wrong = []

    def write(n):
        try:
            fd = os.open(path, os.O_RDWR)
            for _ in range(20):
                assert os.pwrite(fd, bytes([32 + n]) * 100, n * 100) == 100
                assert os.pread(fd, 100, n * 100) == bytes([32 + n]) * 100
            os.close(fd)
        except BaseException as e:  # a thread has no other way to say it
            wrong.append(e)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = b''.join(bytes([32 + n]) * 100 for n in range(64))
    assert not wrong and path.read_bytes() == expected
    assert bystander.remount().read('one.json') == expected


def test_truncation_during_a_read(bystander):
    path = bystander.write('shrinking.bin', b'x' * 100000)
    script = '''
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
while os.fstat(fd).st_nlink:
    assert set(os.pread(fd, 100000, 0)) <= {0, ord('x')}
'''
    reader = subprocess.Popen([sys.executable, '-c', script, path])
    for turn in range(300):
        os.truncate(path, (100000, 0, 5000, 70000)[turn % 4])
        assert reader.poll() is None
    path.unlink()
    assert reader.wait(20) == 0


@pytest.mark.parametrize('name', ['half.json', 'half.tmp'])
def test_writer_killed_half_way(bystander, name):
    script = '''
import os, signal, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
os.write(fd, b'{"half":')
os.kill(os.getpid(), signal.SIGKILL)
'''
    path = bystander.path(name)
    assert subprocess.run([sys.executable, '-c', script, path], check=False).returncode == -signal.SIGKILL
    assert path.read_bytes() == b'{"half":'
    path.write_text('{"half":"whole"}')
    eventually(lambda: bystander.status()['held'] == 0, 5, 'nothing is held back')
    assert path.read_text() == '{"half":"whole"}'
