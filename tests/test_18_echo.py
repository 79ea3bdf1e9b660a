"""A change made on another device raises the kernel's events here."""
import os
import re
import shutil
import signal
import subprocess

import pytest

from blazetest.echo import Paused, helper_of
from blazetest.node import is_mounted
from blazetest.wait import eventually, never
from blazetest.watch import Program, Watch


@pytest.fixture
def watched(pair):
    """Two devices, and a watch on the second's directory c."""
    a, b = pair.nodes
    a.write('c/r.json', '{"n": 1}')
    a.write('c/gone.txt', 'x')
    a.write('c/old.txt', 'x')
    os.makedirs(a.path('c/empty'))
    pair.synced()
    with Watch(b.path('c')) as watch:
        yield a, b, watch


def test_save(watched):
    a, b, watch = watched
    a.write('c/r.json', '{"n": 2}')
    watch.expect('MODIFY r.json', 'CLOSE_WRITE r.json')
    assert b.text('c/r.json') == '{"n": 2}'


def test_creation(watched):
    a, b, watch = watched
    a.write('c/new.json', '{}')
    watch.expect('CREATE new.json', 'MODIFY new.json', 'CLOSE_WRITE new.json')
    assert b.text('c/new.json') == '{}'


def test_creation_of_a_name_known_not_to_be_there(watched):
    a, b, watch = watched
    for _ in range(3):
        assert not b.exists('c/new.json')
    a.write('c/new.json', '{}')
    watch.sees('CREATE new.json')
    assert b.text('c/new.json') == '{}'


def test_deletion(watched):
    a, b, watch = watched
    os.unlink(a.path('c/gone.txt'))
    watch.expect('DELETE gone.txt')
    assert not b.exists('c/gone.txt') and 'gone.txt' not in b.names('c')


def test_rename(watched):
    a, b, watch = watched
    os.rename(a.path('c/old.txt'), a.path('c/new.txt'))
    watch.expect('MOVED_FROM old.txt', 'MOVED_TO new.txt')
    assert b.text('c/new.txt') == 'x' and not b.exists('c/old.txt')


def test_directories(watched):
    a, b, watch = watched
    os.mkdir(a.path('c/d'))
    watch.expect('CREATE,ISDIR d')  # what arrives together is one change: without this, only e would be created
    os.rename(a.path('c/d'), a.path('c/e'))
    os.rmdir(a.path('c/empty'))
    watch.expect('CREATE,ISDIR d', 'MOVED_FROM,ISDIR d', 'MOVED_TO,ISDIR e', 'DELETE,ISDIR empty')
    assert b.path('c/e').is_dir() and not b.exists('c/d')


def test_link_and_executable_bit(watched):
    a, b, watch = watched
    a.path('c/link').symlink_to('r.json')
    watch.expect('CREATE link')
    assert os.readlink(b.path('c/link')) == 'r.json'
    watch.forget()
    a.path('c/r.json').chmod(0o755)
    watch.expect('ATTRIB r.json')
    assert os.access(b.path('c/r.json'), os.X_OK)


def test_save_by_rename_is_one_modification(watched):
    a, _, watch = watched
    a.write('c/.r.json.swp', 'temporary')
    os.rename(a.path('c/.r.json.swp'), a.path('c/r.json'))
    watch.expect('MODIFY r.json', 'CLOSE_WRITE r.json')


def test_moves_between_directories_and_whole_trees(watched):
    a, b, watch = watched
    a.write('c/t/u/f', '1')
    watch.sees('CREATE,ISDIR t')
    a.wait()
    with Watch(b.path('c'), recursive=True) as tree:
        os.rename(a.path('c/t/u/f'), a.path('c/f'))
        tree.expect('MOVED_FROM t/u/f', 'MOVED_TO f')
        tree.forget()
        shutil.rmtree(a.path('c/t'))
        tree.sees('DELETE,ISDIR t')
        assert 'DELETE,ISDIR t/u' in tree.events() and not b.exists('c/t')


def test_watch_on_the_file_itself(watched):
    a, b, _ = watched
    with Watch(b.path('c/old.txt')) as watch:
        a.write('c/old.txt', 'y')
        watch.expect('MODIFY .', 'CLOSE_WRITE .')
        watch.forget()
        os.rename(a.path('c/old.txt'), a.path('c/moved.txt'))
        watch.expect('MOVE_SELF .')
        watch.forget()
        os.unlink(a.path('c/moved.txt'))
        watch.sees('DELETE_SELF .')


@pytest.mark.root
def test_fanotify(watched):
    a, b, _ = watched
    with Program(['fsnotifywait', '--fanotify', '-m', b.path('c')], ready='established') as watch:
        def sees(what):  # events of one file may come merged
            eventually(lambda: re.search(what, watch.text()), 10, what)
        a.write('c/r.json', '{"n": 2}')
        sees(r'MODIFY.* r\.json')
        a.write('c/new.json', '{}')
        sees(r'CREATE.* new\.json')
        sees(r'CLOSE_WRITE.* new\.json')
        os.unlink(a.path('c/gone.txt'))
        sees(r'DELETE gone\.txt')
        os.rename(a.path('c/old.txt'), a.path('c/new.txt'))
        sees(r'MOVED_FROM old\.txt')
        sees(r'MOVED_TO new\.txt')


def test_local_changes_raise_their_events_once(watched):
    a, b, _ = watched
    with Watch(a.path('c')) as watch:
        a.write('c/new.json', '{"n": 1}')
        os.rename(a.path('c/new.json'), a.path('c/newer.json'))
        os.unlink(a.path('c/gone.txt'))
        os.mkdir(a.path('c/d'))
        a.wait()
        b.write('c/end', 'x')
        watch.sees('CLOSE_WRITE end')
        watch.expect('CREATE new.json', 'MODIFY new.json', 'CLOSE_WRITE new.json', 'MOVED_FROM new.json',
                     'MOVED_TO newer.json', 'DELETE gone.txt', 'CREATE,ISDIR d',
                     'CREATE end', 'MODIFY end', 'CLOSE_WRITE end')


def test_merge_into_a_local_save_is_told(pair):
    a, b = pair.nodes
    a.write('c/r.json', '{"x": 1, "y": 1}')
    pair.synced()
    pair.cut()
    a.write('c/r.json', '{"x": 2, "y": 1}')
    b.write('c/r.json', '{"x": 1, "y": 2}')
    with Watch(a.path('c')) as watch:
        pair.restore()
        watch.expect('MODIFY r.json', 'CLOSE_WRITE r.json')
    assert a.text('c/r.json') == '{"x": 2, "y": 2}'


def sleeps_of(pid):
    """How often a process went to sleep: unchanged while nobody gives it work."""
    def count():
        with open(f'/proc/{pid}/status', encoding='ascii') as f:
            return next(int(line.split()[1]) for line in f if line.startswith('voluntary_ctxt_switches'))
    seen = []
    return eventually(lambda: seen.append(count()) or (len(seen) > 5 and len(set(seen[-5:])) == 1 and seen[-1]),
                      10, f'process {pid} sleeps')


def test_nothing_is_done_where_nobody_can_be_watching(pair):
    a, b = pair.nodes
    a.write('c/d/one', '1')
    b.wait()
    pair.synced()
    b.remount()  # the kernel knows nothing of c/d now
    before = sleeps_of(helper_of(b))
    for k in range(50):
        a.write(f'c/d/{k}', '1')
    a.wait()
    assert sleeps_of(helper_of(b)) == before
    assert len(b.names('c/d')) == 51


def test_echo_off(pair):
    a, b = pair.nodes
    a.write('c/r', '1')
    pair.synced()
    b.remount(options='echo=off')
    with Watch(b.path('c')) as watch:
        a.write('c/r', '2')
        a.write('c/new', '1')
        eventually(lambda: b.text('c/r') == '2' and b.text('c/new') == '1')
        never(watch.events, 0.2, 'an event')


def test_events_that_wait_become_one_and_content_does_not_wait(watched):
    a, b, watch = watched
    os.kill(helper_of(b), signal.SIGSTOP)
    for k in range(30):
        a.write('c/r.json', f'{{"n": {k}}}')
        eventually(lambda k=k: b.text('c/r.json') == f'{{"n": {k}}}')
    os.kill(helper_of(b), signal.SIGCONT)
    a.write('c/end', 'x')
    watch.sees('CLOSE_WRITE end')
    assert 1 <= watch.events().count('MODIFY r.json') <= 5


def test_without_its_helper_the_mount_goes_on(watched):
    a, b, _ = watched
    b.allow('blaze warning: the echo helper ended: .*')
    os.kill(helper_of(b), signal.SIGKILL)
    a.write('c/r.json', '{"n": 2}')
    os.rename(a.path('c/old.txt'), a.path('c/new.txt'))
    os.unlink(a.path('c/gone.txt'))
    a.write('c/more.txt', '1')
    a.wait()
    eventually(lambda: b.tree() == a.tree() and b.text('c/r.json') == '{"n": 2}')


def test_killed_daemon_leaves_no_helper_and_no_hung_mount(pair):
    a, b = pair.nodes
    a.write('c/r', '1')
    pair.synced()
    helper = helper_of(b)
    b.process.send_signal(signal.SIGSTOP)
    stuck = subprocess.Popen(['stat', str(b.path('c/never-seen'))], stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True)
    os.kill(b.process.pid, signal.SIGKILL)  # only the daemon: its group holds the helper
    assert re.search('Transport endpoint|connection abort', stuck.communicate(timeout=10)[1])
    b.process.wait()
    b.process = None
    eventually(lambda: not os.path.exists(f'/proc/{helper}'), 10, 'the helper has ended')
    assert is_mounted(b.mnt)
    b.mount()  # takes the dead mount away by itself
    assert b.text('c/r') == '1'


def test_unmounting_while_events_flow(pair):
    a, b = pair.nodes
    a.write('c/r', '0')
    pair.synced()
    with Watch(b.path('c')):
        for k in range(300):
            a.write(f'c/{k}', '1')
    b.stop()
    b.mount()
    eventually(lambda: len(b.names('c')) == 301)


# ---- programs ---------------------------------------------------------------------------------------

def test_tail_follows_by_name(watched):
    a, b, _ = watched
    a.write('c/app.log', 'one\n')
    eventually(lambda: b.text('c/app.log') == 'one\n')
    with Program(['tail', '-F', b.path('c/app.log')], ready='one') as tail:
        with open(a.path('c/app.log'), 'a', encoding='utf-8') as f:
            f.write('two\n')
        tail.says('one\ntwo\n')


def test_entr_runs_its_command(watched):
    a, b, _ = watched
    path, turn = b.path('c/r.json'), iter(range(7, 1000))
    with Program(['sh', '-c', f'echo {path} | entr -n cat {path}'], ready='"n": 1') as entr:
        # It does not look for a moment after it has run its command.
        eventually(lambda: a.write('c/r.json', f'{{"n": {next(turn)}}}') or '"n": 8' in entr.text(), 10, every=0.2)


def test_node_watches(watched):
    a, b, _ = watched
    script = f'''
        const w = require('fs').watch({str(b.path("c"))!r});
        w.on('change', (event, name) => console.log(event, name));
        console.log('ready')'''
    with Program(['node', '-e', script], ready='ready') as node:
        a.write('c/r.json', '{"n": 2}')
        node.says('change r.json')
        a.write('c/new.json', '{}')
        node.says('rename new.json')


def test_git_status_with_fsmonitor(pair, directory):
    """git asks watchman, which lives on inotify, instead of looking at every file."""
    a, b = pair.nodes
    work = b.path('w')
    a.write('w/f.txt', '1\n')
    pair.synced()
    env = dict(os.environ, HOME=str(directory), GIT_CONFIG_NOSYSTEM='1', WATCHMAN_CONFIG_FILE='/dev/null')
    socket = directory / 'watchman.sock'

    def git(*args):
        return subprocess.run(['git', '-C', str(work), '-c', 'user.name=t', '-c', 'user.email=t@t', *args],
                              env=env, check=True, capture_output=True, text=True).stdout

    def watchman(*args):
        return subprocess.run(['watchman', '--no-spawn', '--no-pretty', f'--sockname={socket}', *args],
                              env=env, check=True, capture_output=True, text=True).stdout

    server = subprocess.Popen(['watchman', '-f', f'--sockname={socket}', f'--statefile={directory}/watchman.state',
                               f'--logfile={directory}/watchman.log', f'--pidfile={directory}/watchman.pid'], env=env)
    try:
        eventually(socket.exists, 10, 'watchman listens')
        git('init', '-q')
        git('add', '.')
        git('commit', '-qm', 'first')
        watchman('watch', str(work))
        hook = work / '.git/hooks/fsmonitor'
        hook.write_text('#!/bin/sh\n'
                        f'watchman --no-spawn --no-pretty --sockname={socket} since "$PWD" "$2" 2>/dev/null |'
                        " jq -rj '.clock, \"\\u0000\", (.files[].name + \"\\u0000\")'\n", encoding='utf-8')
        hook.chmod(0o755)
        git('config', 'core.fsmonitor', '.git/hooks/fsmonitor')
        git('config', 'core.fsmonitorHookVersion', '2')
        git('update-index', '--fsmonitor')
        assert git('status', '--short') == ''
        a.write('w/f.txt', '2\n')
        eventually(lambda: git('status', '--short') == ' M f.txt\n', 10, 'git sees the change')
    finally:
        server.kill()
        server.wait()


def test_directory_made_again_before_its_removal_was_echoed(watched):
    a, b, watch = watched
    a.write('c/d/f', 'old')
    watch.sees('CREATE,ISDIR d')
    with Paused(b):
        shutil.rmtree(a.path('c/d'))
        eventually(lambda: 'd' not in b.names('c'), 10, 'the directory is gone')
        a.write('c/d/g', 'new')
        eventually(lambda: b.exists('c/d/g'), 10, 'there is another')
        fd = os.open(b.path('c/d'), os.O_RDONLY)  # the kernel keeps what is open, dead or alive
    watch.sees('DELETE,ISDIR d')
    eventually(lambda: watch.events().count('CREATE,ISDIR d') == 2, 10, 'all was echoed')
    assert b.names('c/d') == os.listdir(fd) == ['g'] and b.text('c/d/g') == 'new'
    b.write('c/d/h', 'x')
    os.close(fd)


def test_file_made_again_before_its_move_was_echoed(watched):
    a, b, watch = watched
    with Paused(b):
        os.rename(a.path('c/old.txt'), a.path('c/new.txt'))
        eventually(lambda: 'new.txt' in b.names('c'), 10, 'the file moved')
        a.write('c/old.txt', 'another')
        eventually(lambda: b.text('c/old.txt') == 'another', 10, 'there is another')
    watch.sees('CREATE old.txt')
    assert 'MOVED_TO new.txt' in watch.events()
    assert b.text('c/new.txt') == 'x' and b.text('c/old.txt') == 'another'


def test_file_made_again_before_its_removal_was_echoed(watched):
    a, b, watch = watched
    with Paused(b):
        os.unlink(a.path('c/gone.txt'))
        eventually(lambda: 'gone.txt' not in b.names('c'), 10, 'the file is gone')
        a.write('c/gone.txt', 'another')
        eventually(lambda: b.exists('c/gone.txt') and b.text('c/gone.txt') == 'another', 10, 'there is another')
        fd = os.open(b.path('c/gone.txt'), os.O_RDONLY)
    watch.sees('CREATE gone.txt')
    assert os.fstat(fd).st_nlink == 1 and b.text('c/gone.txt') == 'another'
    os.close(fd)
