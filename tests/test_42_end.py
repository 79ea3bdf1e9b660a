"""The end of a mount, whoever brings it about: nothing that was closed is lost, and nobody is left hanging."""
import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from blazetest.faults import Gate
from blazetest.node import is_mounted
from blazetest.wait import SCALE, eventually, in_fuse, never, now, read_line

PLAIN = [['fusermount3', '-u'], pytest.param(['umount'], marks=pytest.mark.root)]
BIG = 'x' * 300000
LAZY = [['fusermount3', '-u', '-z'], pytest.param(['umount', '-l'], marks=pytest.mark.root)]
BUSY = ('rm gone.json; mv a.json renamed.json; printf new >notes.txt.new; printf \'{"n":2}\' >bugs/b.json;'
        'ln -s renamed.json link; printf temporary >x.tmp; printf \'{"broken":\' >bad.json')


def unmounted(node, tool):
    """Unmounts; the daemon has to end by itself, with exit code 0."""
    done = subprocess.run([*tool, node.mnt], capture_output=True, text=True, timeout=30 * SCALE, check=False)
    assert done.returncode == 0, done.stderr
    ended(node)


def ended(node):
    process, node.process = node.process, None
    node._ended(process, 'unmounting')
    assert not is_mounted(node.mnt)
    node.judge()


# ---- orderly ----------------------------------------------------------------------------------------

@pytest.mark.parametrize('tool', PLAIN)
def test_unmounting_publishes_what_was_held_back(pair, tool):
    """Temporary names, moves, deletions in their grace time, JSON that does not parse: all right at the end."""
    a, b = pair.nodes
    a.write('a.json', '{"n":1}')
    a.write('gone.json', '{}')
    a.write('bugs/b.json', '{"n":1}')
    pair.synced()
    pair.cut()
    a.sh(BUSY)
    tree = a.tree()
    unmounted(a, tool)
    a.mount(listen='127.0.0.1:0')
    assert a.status()['held'] == 0 and a.tree() == tree
    pair.retarget()
    pair.restore()
    expected = ['bad.json', 'bugs', 'link', 'notes.txt.new', 'renamed.json']
    eventually(lambda: b.names() == expected, 20, 'everything arrives')
    assert b.text('notes.txt.new') == 'new' and b.text('bugs/b.json') == '{"n":2}'


@pytest.mark.parametrize('tool', PLAIN)
def test_unmounting_while_a_file_is_open_disturbs_nothing(node, tool):
    with open(node.path('a.json'), 'w', encoding='utf-8') as f:
        f.write('{"n":')
        f.flush()
        done = subprocess.run([*tool, node.mnt], capture_output=True, text=True, check=False)
        assert done.returncode != 0 and 'busy' in done.stderr
        f.write('1}')
    assert node.text('a.json') == '{"n":1}' and node.process.poll() is None
    unmounted(node, tool)
    assert node.mount().text('a.json') == '{"n":1}'


@pytest.mark.parametrize('tool', LAZY)
def test_lazy_unmounting_waits_for_the_last_close(node, tool):
    node.allow('fuse: reading device: Software caused connection abort')  # libfuse, when that came in between
    with open(node.path('a.json'), 'w', encoding='utf-8') as f:
        f.write('{"n":')
        f.flush()
        subprocess.run([*tool, node.mnt], check=True)
        assert not is_mounted(node.mnt) and node.process.poll() is None
        f.write('1}')
    ended(node)
    assert node.mount().text('a.json') == '{"n":1}' and len(node.log('a.json')) == 1


# ---- signals ----------------------------------------------------------------------------------------

@pytest.mark.parametrize('sig', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_unmounts_and_keeps_what_open_files_hold(node, sig):
    node.write('gone.json', '{}')
    fd = os.open(node.path('open.json'), os.O_RDWR | os.O_CREAT)
    os.write(fd, b'{"n":1}')
    node.sh('printf x >held.new; rm gone.json')
    node.process.send_signal(sig)
    ended(node)
    with pytest.raises(OSError) as e:
        os.write(fd, b'more')
    assert e.value.errno == errno.ENOTCONN
    with pytest.raises(OSError):
        os.close(fd)
    assert node.mount().names() == ['held.new', 'open.json'] and node.text('open.json') == '{"n":1}'
    assert node.status()['held'] == 0


def test_hangup_that_is_ignored_stays_ignored(device):
    """nohup blaze mount -f."""
    device.init()
    device.mount(under=['nohup'])
    device.process.send_signal(signal.SIGHUP)
    never(lambda: device.process.poll() is not None, 0.3, 'the daemon ends')


def test_two_signals_at_once_end_it_once(node):
    node.write('a.json', '{}')
    for _ in range(3):
        node.process.send_signal(signal.SIGTERM)
        node.process.send_signal(signal.SIGINT)
    ended(node)


# ---- sudden -----------------------------------------------------------------------------------------

LOADS = [
    'n = 0\nwhile True:\n    n += 1\n    open(f"w{n % 50}.json", "w").write("{}")',
    'while True:\n    f = open("shared.txt", "a"); f.write("line"); os.fsync(f.fileno()); f.close()',
    'while True:\n    [os.stat(e) for e in os.scandir(".") if e.name == "shared.txt"]; open("shared.txt").read()',
    'mine = f"{os.getpid()}.tmp"\nwhile True:\n    open(mine, "w").write("x" * 9999); os.replace(mine, "t.txt")',
]


def program(node, text):
    """A Python program in the mount; its exit code is an errno."""
    code = f'import os, sys\nprint("go", flush=True)\ntry:\n    ' + text.replace('\n', '\n    ') + \
        '\nexcept OSError as e:\n    os._exit(e.errno)'
    process = subprocess.Popen([sys.executable, '-c', code], cwd=node.mnt, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    read_line(process.stdout.fileno(), 20, 'the program')
    process.stdout.close()
    return process


def test_killed_daemon_leaves_nobody_hanging(node):
    node.write('shared.txt', '')
    programs = [program(node, load) for load in LOADS * 2]
    eventually(lambda: node.exists('w20.json') and node.exists('t.txt'), 20, 'they work')
    process, node.process = node.process, None
    process.kill()
    process.wait()
    for p in programs:
        assert p.wait(20 * SCALE) in (errno.ENOTCONN, errno.ECONNABORTED), p.args
    with pytest.raises(OSError, match='not connected'):
        os.listdir(node.mnt)
    node.mount()
    assert {'shared.txt', 'w20.json'} <= set(node.names())


def test_program_that_maps_a_file_of_a_killed_daemon_ends(node):
    node.write('a.txt', 'x' * 100000)
    reader = program(node, 'import mmap\nm = mmap.mmap(os.open("a.txt", os.O_RDWR), 0)\n'
                           'while True:\n    m[5] = 7; m.flush()')
    process, node.process = node.process, None
    process.kill()
    process.wait()
    assert reader.wait(20 * SCALE) != 0
    node.mount()


@pytest.mark.root  # where /sys/fs/fuse/connections is mounted, anybody's guard can do it
def test_daemon_killed_while_it_waits_for_a_directory_that_a_program_holds(pair):
    """It cannot end before the program does, nor the program before it."""
    a, b = pair.nodes
    gate = Gate(b)
    a.write('c/r.json', '1')
    pair.synced()
    b.remount()
    assert b.names('c') == ['r.json']
    with gate.held(f'reply {Gate.CREATE}'):
        creator = subprocess.Popen([sys.executable, '-c', 'open("c/mine", "x")'], cwd=b.mnt, stderr=subprocess.PIPE,
                                   text=True)
        gate.waits()
        a.write('c/theirs.json', '2')
        gate.tells()
        process, b.process = b.process, None
        os.killpg(process.pid, signal.SIGKILL)  # all of its process group
        assert process.wait(20 * SCALE) == -signal.SIGKILL
        assert re.search('not connected|connection abort', creator.communicate(timeout=20 * SCALE)[1])
    assert is_mounted(b.mnt)
    b.mount()
    pair.synced()
    assert {'r.json', 'theirs.json'} <= set(b.names('c'))


def guard_of(node):
    pids = Path(f'/proc/{node.process.pid}/task/{node.process.pid}/children').read_text(encoding='ascii').split()
    return next((int(p) for p in pids if is_guard(p)), None)


def is_guard(pid):
    return Path(f'/proc/{pid}/comm').read_text(encoding='utf-8') == 'blaze-guard\n'


def test_nobody_guards_a_mount_that_is_gone(node):
    guard = eventually(lambda: guard_of(node), 10, 'the guard has taken its name')
    os.kill(guard, signal.SIGUSR1)  # what the kernel sends it, from somebody else
    node.write('a.json', '{}')
    assert is_guard(guard) and node.text('a.json') == '{}'
    node.stop()
    assert not os.path.exists(f'/proc/{guard}')


# ---- waiting programs -------------------------------------------------------------------------------

@contextlib.contextmanager
def stopped(node):
    """Meanwhile the daemon answers nothing; afterwards it does, so that a failed test can look at the mount."""
    os.kill(node.process.pid, signal.SIGSTOP)
    try:
        eventually(lambda: states(node.process.pid) == {'T'}, 10, 'the daemon is stopped')
        yield
    finally:
        os.kill(node.process.pid, signal.SIGCONT)


def states(pid):
    """Of all threads: one that is about to stop may still take a request, which then cannot be given up."""
    return {s.read_text(encoding='utf-8').rsplit(')', 1)[1].split()[0] for s in Path(f'/proc/{pid}/task').glob('*/stat')}


def blocked(argv, cwd, **kw):
    process = subprocess.Popen(argv, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kw)
    eventually(lambda: in_fuse(process.pid), 20, f'{argv[0]} waits for the mount')
    return process


@pytest.mark.root
@pytest.mark.parametrize('sig', [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('argv', [['cat', 'big.txt'], ['dd', 'if=/dev/zero', 'of=new', 'count=9'], ['ls'],
                                  ['touch', 'big.txt'], ['mkdir', 'd']])
def test_program_that_waits_for_the_daemon_can_be_ended(node, argv, sig):
    node.write('big.txt', BIG)
    node.remount()
    with stopped(node):
        process = blocked(['env', '-C', node.mnt, *argv], node.directory)
        process.send_signal(sig)
        assert process.wait(10 * SCALE) == -sig
    assert node.text('big.txt') == BIG


@pytest.mark.root
def test_handled_signal_does_not_break_a_read(node):
    """A signal with a handler: the read goes on, gives all bytes, and then the handler runs."""
    node.write('big.txt', BIG)
    node.remount()
    code = ('import os, signal\nsignal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"handled "))\n'
            f'n = len(open("{node.path("big.txt")}").read())\nos.write(1, str(n).encode())')
    with stopped(node):
        process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE)
        eventually(lambda: in_fuse(process.pid), 20, 'it waits for the mount')
        process.send_signal(signal.SIGUSR1)
    out = process.communicate(timeout=20 * SCALE)[0]
    assert sorted(out.split()) == [str(len(BIG)).encode(), b'handled'], out


@pytest.fixture
def slow_disk(disk):
    """(device, switch): between switch(True) and switch(False) its disk does not answer an fdatasync."""
    node, fault = disk
    return node, fault.switch('fdatasync 0 .log')


def test_others_work_while_fsync_waits_for_the_disk(slow_disk):
    node, switch = slow_disk
    node.write('a.txt', 'before')
    switch(True)
    syncer = program(node, 'f = open("slow.txt", "w"); f.write("x"); f.flush(); os.fsync(f.fileno()); os._exit(77)')
    eventually(lambda: node.exists('slow.txt'), 10)
    for n in range(20):
        node.write(f'{n}.json', '{}')
    assert node.text('a.txt') == 'before' and len(node.names()) == 22 and syncer.poll() is None
    switch(False)
    assert syncer.wait(10 * SCALE) == 77


def test_signal_in_fsync_counts_when_the_disk_has_answered(slow_disk):
    """As on a local disk: fsync is not cut short, and neither is the signal lost."""
    node, switch = slow_disk
    switch(True)
    syncer = program(node, 'f = open("slow.txt", "w"); f.write("x"); f.flush(); os.fsync(f.fileno())\nwhile True: pass')
    eventually(lambda: node.path('slow.txt').stat().st_size == 1, 10)
    threading.Timer(0.2, switch, [False]).start()
    syncer.send_signal(signal.SIGINT)
    start = now()
    assert syncer.wait(10 * SCALE) in (-signal.SIGINT, 1) and now() - start < 10 * SCALE
    assert node.text('slow.txt') == 'x'
