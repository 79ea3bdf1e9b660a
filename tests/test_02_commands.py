"""The commands: what they print, how they fail, which exit code."""
import hashlib
import json
import os
import re
import shutil
import subprocess

import pytest

from blazetest import Node
from blazetest.node import BIN, is_mounted
from blazetest.wait import eventually


def one_line(done):
    """An error is one line on stderr that begins with the program's name."""
    assert done.stderr.startswith('blaze: ') and done.stderr.count('\n') == 1, done.stderr
    return done.stderr


# ---- init, version, help ----------------------------------------------------------------------------

def test_init_names_the_next_command(device):
    out = device.run('init', 'work').stdout
    assert 'Created database "work"' in out and 'blaze mount work' in out


def test_init_twice_is_refused(device):
    device.init()
    assert 'work' in one_line(device.run('init', 'work', code=1))


@pytest.mark.parametrize('name', ['', '..', 'a/b', '.hidden', 'x' * 65, 'new\nline', 'device.key'])
def test_bad_database_name_is_refused(device, name):
    one_line(device.run('init', name, code=2))


def test_home_is_private(device):
    device.init()
    assert device.home.stat().st_mode & 0o77 == 0
    assert (device.home / 'device.key').stat().st_mode & 0o77 == 0


def test_key_that_others_may_read_is_refused(device):
    device.init()
    (device.home / 'device.key').chmod(0o644)
    assert 'chmod 600' in one_line(device.run('mount', 'work', device.mnt, code=12))


def test_version_as_text_and_json(device):
    assert device.run('version').stdout.startswith('blaze ')
    assert device.json('version')['v'] == 1


def test_help_lists_every_command(device):
    text = device.run('--help').stdout
    assert all(c in text for c in ('init', 'mount', 'umount', 'pair', 'status', 'wait', 'log', 'diff', 'restore', 'undo', 'conflicts', 'version'))


@pytest.mark.parametrize('command', ['init', 'mount', 'umount', 'pair', 'status', 'wait', 'log', 'diff', 'restore', 'undo', 'conflicts', 'version'])
def test_every_command_explains_itself(device, command):
    assert f'blaze {command}' in device.run(command, '--help').stdout


@pytest.mark.parametrize('args', [[], ['frobnicate'], ['status', '--frobnicate'], ['init'], ['mount', 'work'],
                                  ['wait', '--timeout', 'soon'], ['init', 'a', 'b'], ['log', 'a', 'b']])
def test_wrong_usage_exits_2(device, args):
    one_line(device.run(*args, code=2))


def test_mistyped_command_gets_a_suggestion(device):
    assert 'blaze mount' in one_line(device.run('muont', code=2))


# ---- mount ------------------------------------------------------------------------------------------

def test_unknown_database_exits_10(device):
    assert 'nothere' in one_line(device.run('mount', 'nothere', device.mnt, code=10))
    one_line(device.run('status', 'nothere', code=10))


def test_second_mount_of_a_database_exits_11(node):
    other = node.directory / 'other'
    other.mkdir()
    assert str(node.mnt) in one_line(node.run('mount', 'work', other, code=11))
    assert not is_mounted(other)


def test_mountpoint_in_use_is_refused(node):
    node.run('init', 'second')
    done = node.run('mount', 'second', node.mnt, code=None)
    assert done.returncode in (1, 11) and str(node.mnt) in one_line(done)
    assert node.write('still.txt', 'alive') and node.text('still.txt') == 'alive'


def test_missing_mountpoint_is_refused(device):
    device.init()
    assert 'mkdir' in one_line(device.run('mount', 'work', device.mnt / 'missing', code=1))


def test_file_as_mountpoint_is_refused(device):
    device.init()
    target = device.directory / 'file'
    target.write_text('x')
    one_line(device.run('mount', 'work', target, code=1))


def test_dead_mountpoint_is_cleared_and_mounted_anew(node):
    node.write('a.txt', 'kept')
    process, node.process = node.process, None
    process.kill()
    process.wait()
    with pytest.raises(OSError, match='not connected'):
        os.listdir(node.mnt)
    node.mount()
    assert node.text('a.txt') == 'kept'


def test_umount_clears_a_dead_mountpoint(node):
    process, node.process = node.process, None
    process.kill()
    process.wait()
    node.run('umount', node.mnt)
    assert not is_mounted(node.mnt)


def test_ready_line_tells_pid_and_mountpoint(node):
    assert node.ready['v'] == 1 and node.ready['pid'] == node.process.pid
    assert node.ready['mountpoint'] == str(node.mnt) and node.ready['listen'] == ''


def test_ready_line_tells_the_port_really_bound(device):
    device.init().mount(listen='127.0.0.1:0')
    host, port = device.listen.rsplit(':', 1)
    assert host == '127.0.0.1' and int(port) > 0


def test_used_port_is_reported_before_mounting(device, directory):
    device.init().mount(listen='127.0.0.1:0')
    other = Node(directory, 'b').init()
    assert device.listen in one_line(other.run('mount', 'work', other.mnt, '--listen', device.listen, code=1))
    assert not is_mounted(other.mnt)


def test_mount_in_the_background_returns_when_it_answers(device):
    device.init()
    assert 'Mounted "work"' in device.run('mount', 'work', device.mnt).stdout
    device.write('a.txt', 'at once')
    assert 'Unmounted' in device.run('umount', device.mnt).stdout
    assert not is_mounted(device.mnt)


def test_mount_without_arguments_lists_mounts(node):
    assert re.search(r'work\s+~/mnt', node.run('mount').stdout)


def test_umount_of_what_is_not_mounted(device):
    device.init()
    one_line(device.run('umount', device.mnt, code=1))


def test_umount_while_a_file_is_open_says_busy(node):
    with open(node.write('a.txt', 'x'), 'rb'):
        assert str(node.mnt) in one_line(node.run('umount', node.mnt, code=11))
    assert node.text('a.txt') == 'x'


def test_fusermount_ends_the_daemon_cleanly(node):
    node.write('a.txt', 'x')
    subprocess.run(['fusermount3', '-u', node.mnt], check=True)
    eventually(lambda: node.process.poll() == 0, 10, 'the daemon ends after fusermount3 -u')
    node.process = None
    assert node.mount().text('a.txt') == 'x'
    node.stop()


def test_mounts_show_as_fuse_blaze(node):
    line = next(s for s in open('/proc/mounts', encoding='utf-8') if f' {node.mnt} ' in s)
    assert line.split()[0] == 'work' and line.split()[2] == 'fuse.blaze'


# ---- mount.blaze ------------------------------------------------------------------------------------

HELPER = os.path.join(os.path.dirname(BIN), 'mount.blaze')
FSTAB = 'rw,nofail,_netdev,noauto,x-systemd.automount,user,exec,comment=none'


def test_mount_helper_ignores_what_fstab_puts_in_front(device):
    device.init()
    env = dict(device.env)
    subprocess.run([HELPER, 'work', device.mnt, '-n', '-o', FSTAB], env=env, check=True, timeout=30)
    device.write('a.txt', 'x')
    device.run('umount', device.mnt)


def test_mount_helper_names_the_option_it_does_not_know(device):
    device.init()
    done = subprocess.run([HELPER, 'work', device.mnt, '-o', 'frobnicate=1'], env=device.env,
                          capture_output=True, text=True, timeout=30)
    assert done.returncode in (1, 32) and 'frobnicate' in done.stderr and not is_mounted(device.mnt)


def test_mount_helper_fails_with_32(device):
    done = subprocess.run([HELPER, 'nothere', device.mnt], env=device.env, capture_output=True, text=True,
                          timeout=30)
    assert done.returncode == 32 and 'nothere' in done.stderr


# ---- status -----------------------------------------------------------------------------------------

def test_status_of_a_lone_device(node):
    assert 'this device only' in node.run('status').stdout
    status = node.status()
    assert status['v'] == 1 and status['database'] == 'work' and status['peers'] == []


def test_status_works_without_a_mount(device):
    device.init()
    assert 'this device only' in device.run('status').stdout


def test_status_by_directory_and_from_within(node):
    node.write('sub/a.json', '{}')
    assert node.run('status', node.mnt).stdout.startswith('work')
    assert node.run('status', cwd=node.path('sub')).stdout.startswith('work')


def test_status_flags_invalid_json_and_check_exits_3(node):
    node.write('bugs/bad.json', '{"title":')
    problem = eventually(lambda: node.status()['problems'])[0]
    assert problem['path'] == 'bugs/bad.json' and (problem['line'], problem['column']) == (1, 10)
    assert 'not valid JSON' in node.run('status', '--check', code=3).stdout


def test_special_files_tell_the_same_as_status(node):
    node.write('a.json', '{}')
    node.names()
    assert node.text('.blaze/status').startswith('work')
    assert json.loads(node.text('.blaze/status.json'))['database'] == 'work'
    assert node.text('.blaze/state').strip() in ('synced', 'syncing', 'offline', 'error')


def test_special_files_are_hidden_with_true_sizes(node):
    assert '.blaze' not in node.names()
    assert {'README', 'status', 'status.json', 'state', 'peers', 'version'} <= set(node.names('.blaze'))
    for name in ('README', 'status', 'status.json', 'state', 'version'):
        with open(node.path(f'.blaze/{name}'), 'rb') as f:
            assert os.fstat(f.fileno()).st_size == len(f.read()) > 0


@pytest.mark.parametrize('name', ['.blaze', '.blaze2', '.BLAZE', '.blaze/own', '.blaze/status'])
def test_reserved_names_are_refused(node, name):
    with pytest.raises(OSError):
        os.mkdir(node.path(name))


def test_log_tells_the_history(node):
    node.write('a.json', '{"priority":2}')
    node.write('a.json', '{"priority":3}')
    assert [e['author'] for e in node.log('a.json')] == ['device-a'] * 2
    assert 'priority' in node.run('log', node.path('a.json')).stdout


def test_log_of_what_never_was_a_record(node):
    one_line(node.run('log', node.path('nothing.json'), code=1))


# ---- damaged stores ---------------------------------------------------------------------------------

def stored(node):
    node.write('a.json', '{"n":1}')
    node.stop()
    return node.home / 'work'


def digest_of(directory):
    """Of everything but the daemon's own log."""
    return {str(p.relative_to(directory)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in directory.rglob('*') if p.is_file() and p.name != 'log'}


def test_store_without_current_is_refused_untouched(node):
    folder = stored(node)
    next(folder.rglob('CURRENT')).unlink()
    tables = sorted(p.name for p in folder.rglob('*.log'))
    assert 'damaged' in one_line(node.run('mount', 'work', node.mnt, code=1))
    assert sorted(p.name for p in folder.rglob('*.log')) == tables


def test_newer_format_is_refused_untouched(node):
    folder = stored(node)
    number = re.compile(r' \d+$', re.M)
    (folder / 'format').write_text(number.sub(' 9999', (folder / 'format').read_text(), count=1))
    before = digest_of(folder)
    assert 'newer' in one_line(node.run('mount', 'work', node.mnt, code=1))
    assert digest_of(folder) == before


def test_foreign_format_file_is_refused(node):
    folder = stored(node)
    (folder / 'format').write_bytes(b'\x7fELF' + bytes(100))
    one_line(node.run('mount', 'work', node.mnt, code=1))


def test_directory_that_is_no_database_is_refused(device):
    device.init()
    (device.home / 'other').mkdir()
    one_line(device.run('mount', 'other', device.mnt, code=10))


def test_foreign_key_is_refused(node, directory):
    stored(node)
    stranger = Node(directory, 'b').init()
    shutil.copy(stranger.home / 'device.key', node.home / 'device.key')
    one_line(node.run('mount', 'work', node.mnt, code=12))
