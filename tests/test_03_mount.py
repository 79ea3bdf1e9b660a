"""Being a good mount: mount(8) and fstab, options, mountpoints of any name, other users, systemd, df."""
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from blazetest import Node
from blazetest.namespace import Mounts
from blazetest.node import BIN, BUILD, is_mounted
from blazetest.wait import SCALE, eventually

ROOT = Path(__file__).parents[1]
NOBODY = 65534
ALL = ('rw,suid,dev,exec,auto,nouser,async,noauto,nofail,_netdev,noatime,nodiratime,relatime,user,users,owner,'
       'comment=c,x-systemd.automount,x-systemd.idle-timeout=1min,x-gvfs-show,X-mount.mkdir,defaults,lazytime')


def one_line(done, word):
    assert done.stderr.startswith('blaze: ') and done.stderr.count('\n') == 1 and word in done.stderr, done.stderr
    return done


def mount_line(path):
    """The options of a mount, of the mount point and of the file system, as the kernel tells them."""
    done = subprocess.run(['findmnt', '-n', '-o', 'VFS-OPTIONS,FS-OPTIONS', path], capture_output=True,
                          text=True, check=True)
    return set(done.stdout.replace(' ', ',').strip().split(','))


# ---- mount(8) and fstab -----------------------------------------------------------------------------

@pytest.fixture
def system(device):
    """(device with a database, namespace): there, mount(8) finds our helpers in /sbin, as when installed."""
    device.init()
    helpers = device.directory / 'sbin'
    helpers.mkdir()
    for name in ('mount.blaze', 'mount.fuse.blaze'):
        (helpers / name).symlink_to(BUILD / name)
    with Mounts() as there:
        done = there.sh(f'mount -t overlay overlay -o lowerdir={helpers}:/usr/sbin /usr/sbin')
        if done.returncode:
            pytest.skip(f'needs overlayfs: {done.stderr}')
        yield device, there
        there.sh(f'umount -l {device.mnt}')
    eventually(lambda: not (device.home / 'work' / 'ctl').exists(), 10, 'the daemon ends')


@pytest.mark.root
@pytest.mark.parametrize('kind', ['blaze', 'fuse.blaze'])
def test_mount_8_passes_all_its_options(system, kind):
    node, there = system
    done = there.sh(f'mount -t {kind} work {node.mnt} -o {ALL} && echo x >{node.mnt}/a && ls {node.mnt} && '
                    f'findmnt -n -o FSTYPE,SOURCE {node.mnt} && umount {node.mnt}', node.env)
    assert done.stdout.split() == ['a', 'fuse.blaze', 'work'], done.stderr
    assert not is_mounted(node.mnt)


@pytest.mark.root
@pytest.mark.parametrize('kind', ['blaze', 'fuse.blaze'])
def test_line_of_fstab_mounts(system, kind):
    node, there = system
    fstab = node.directory / 'fstab'
    fstab.write_text(f'{node.home}/work {node.mnt} {kind} noauto,x-systemd.automount,nofail,_netdev,ro 0 0\n')
    env = {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin'}
    done = there.sh(f'mount -T {fstab} {node.mnt} && touch {node.mnt}/a', env)
    assert 'Read-only file system' in done.stderr
    assert there.sh(f'umount {node.mnt}').returncode == 0


@pytest.mark.root
def test_mount_8_may_find_a_file_of_the_databases_name(system):
    """It makes an absolute path of a name that exists in the current directory."""
    node, there = system
    done = there.sh(f'cd {node.directory} && mkdir work && mount -t blaze work mnt && umount mnt', node.env)
    assert done.returncode == 0, done.stderr


@pytest.mark.root
def test_mount_8_prints_why_not(system):
    node, there = system
    done = there.sh(f'mount -t blaze nothere {node.mnt}', node.env)
    assert done.returncode == 32 and 'no database "nothere"' in done.stderr


# ---- options ----------------------------------------------------------------------------------------

def test_read_only_mount_refuses_changes_and_gets_remote_ones(pair):
    a, b = pair.nodes
    b.write('r.json', '{"n":1}')
    pair.synced()
    b.remount(options='ro')
    for change in (lambda: b.write('r.json', '{}'), lambda: os.unlink(b.path('r.json')), lambda: os.mkdir(b.path('d'))):
        with pytest.raises(OSError, match='Read-only'):
            change()
    assert b.text('r.json') == '{"n":1}'
    a.write('r.json', '{"n":2}')
    a.write('new/s.json', '{}')
    a.wait()
    assert b.text('r.json') == '{"n":2}' and b.names('new') == ['s.json']


@pytest.mark.parametrize('options, expected', [('noexec', {'noexec'}), ('user,noexec,exec', set()),
                                               ('ro,rw', {'rw'}), ('sync', {'sync'}), ('', {'nosuid', 'nodev'})])
def test_last_of_two_options_counts(device, options, expected):
    device.init().mount(options=options or None)
    found = mount_line(device.mnt)
    assert expected <= found and ('noexec' in found) == ('noexec' in expected), found


@pytest.mark.parametrize('option, word', [('frobnicate', 'frobnicate'), ('uid=me', 'uid'), ('listen', 'listen'),
                                          ('allow_root', 'allow_root'), ('auto_unmount', 'blaze mount'),
                                          ('ro=1', 'ro=1'), ('umask=022', 'umask')])
def test_option_that_is_not_one_is_named(device, option, word):
    device.init()
    one_line(device.run('mount', 'work', device.mnt, '-o', option, code=2), word)


@pytest.fixture
def public():
    """A directory that every user can reach, unlike those of the tests."""
    path = Path(tempfile.mkdtemp(prefix='blaze-public-', dir='/tmp'))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def as_nobody(script):
    return subprocess.run(['setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups', 'sh', '-c', script],
                          capture_output=True, text=True, timeout=30 * SCALE, check=False)


@pytest.mark.root
def test_other_users_get_what_the_modes_say_with_allow_other(device, public):
    device.init()
    device.mnt = public
    device.mount(options='allow_other')
    for name, mode in (('public', 0o644), ('private', 0o600), ('shared', 0o666)):
        device.write(name, name).chmod(mode)
    device.mnt.joinpath('dir').mkdir(mode=0o700)
    assert as_nobody(f'cat {public}/public').stdout == 'public'
    assert as_nobody(f'echo x >{public}/shared').returncode == 0 and device.text('shared') == 'x\n'
    for script in ('cat private', 'echo x >public', 'rm public', 'ls dir', 'touch new', 'chmod 666 private'):
        assert 'denied' in (err := as_nobody(f'cd {public} && {script}').stderr) or 'permitted' in err, script
    device.stop()


@pytest.mark.root
def test_other_users_get_nothing_without_allow_other(device, public):
    device.init()
    device.mnt = public
    device.mount()
    device.write('public', 'public').chmod(0o666)
    assert 'denied' in as_nobody(f'cat {public}/public').stderr
    device.stop()


# ---- mountpoints ------------------------------------------------------------------------------------

@pytest.mark.parametrize('name', ['with space', 'ünï-日本', 'com,ma', 'back\\slash', 'new\nline', 'ta\tb', "quo'te\"",
                                  '\\040', '#hash'])
def test_mountpoint_may_have_any_name(device, name):
    device.init()
    where = device.directory / name
    where.mkdir()
    assert device.run('mount', 'work', where).stdout.count('\n') == 1
    (where / 'a.txt').write_text('x')
    assert device.run('status', where).stdout.splitlines()[0].startswith('work')
    assert device.json('mount')['mountpoint'] == str(where)
    one_line(device.run('mount', 'work', where, code=11), 'already')
    device.run('umount', where)
    assert not os.path.ismount(where)


def test_dead_mount_of_any_name_is_cleared(device):
    device.init()
    where = device.directory / 'new\nline'
    where.mkdir()
    device.run('mount', 'work', where)
    os.kill(device.json('mount')['pid'], 9)
    eventually(lambda: os.system(f'stat -f {shlex.quote(str(where))} >/dev/null 2>&1') != 0, 10, 'the mount is dead')
    assert 'dead mount' in device.run('mount', 'work', where).stderr
    device.run('umount', where)


def test_nonempty_mountpoint_needs_the_option(device):
    device.init()
    device.write('hidden', 'x')
    one_line(device.run('mount', 'work', device.mnt, code=1), 'nonempty')
    device.mount(options='nonempty')
    assert device.names() == []
    device.stop()
    assert device.names() == ['hidden']
    os.unlink(device.path('hidden'))


@pytest.mark.root
def test_mount_inside_a_mount(node):
    node.run('init', 'inner')
    (node.mnt / 'in').mkdir()
    node.run('mount', 'inner', node.mnt / 'in')
    node.write('in/a.json', '{}')
    assert node.run('status', node.mnt / 'in').stdout.startswith('inner')
    one_line(node.run('umount', node.mnt, code=11), 'in use')
    node.run('umount', node.mnt / 'in')
    assert node.names('in') == []


def test_umount_of_a_directory_in_a_mount_unmounts_nothing(node):
    node.write('d/a.txt', 'x')
    one_line(node.run('umount', node.mnt / 'd', code=1), 'inside')
    assert node.text('d/a.txt') == 'x'


def test_current_directory_that_is_gone(device):
    device.init()
    gone = device.directory / 'gone'
    script = f'mkdir -p {gone} && cd {gone} && rmdir {gone} && '
    done = subprocess.run(['sh', '-c', f'{script} {BIN} mount work ../mnt'], env=device.env, capture_output=True,
                          text=True, timeout=30 * SCALE, check=False)
    assert done.returncode == 1
    one_line(done, 'No such file')
    subprocess.run(['sh', '-c', f'{script} {BIN} mount work {device.mnt} && {BIN} status && {BIN} umount work'],
                   env=device.env, check=True, timeout=30 * SCALE, capture_output=True)


def test_home_that_is_not_set(device):
    device.init()
    device.run('mount', f'{device.home}/work', device.mnt, env={'BLAZE_HOME': '', 'HOME': ''})
    device.run('umount', device.mnt)


# ---- users ------------------------------------------------------------------------------------------

@pytest.fixture
def user(public):
    """Runs scripts as a user who may open /dev/fuse, in a namespace of their own; `blaze` is in the PATH."""
    shutil.copy(BIN, public / 'blaze')
    shutil.copy('/etc/fuse.conf', public / 'fuse.conf')
    (public / 'mnt').mkdir()
    subprocess.run(['mknod', public / 'fuse', 'c', '10', '229'], check=True)
    os.chmod(public / 'fuse', 0o666)
    subprocess.run(['chown', '-R', f'{NOBODY}:{NOBODY}', public], check=True)
    env = {'HOME': str(public), 'PATH': f'{public}:/usr/bin:/bin', 'LC_ALL': 'C.UTF-8'}
    with Mounts() as there:
        assert there.sh(f'mount --bind {public}/fuse /dev/fuse').returncode == 0

        def run(script, uid=NOBODY):
            return there.sh(f'cd {public}; {script}', env, uid)
        assert run('blaze init work').returncode == 0
        yield run
        run('blaze umount work')


@pytest.mark.root
def test_user_mounts_through_fusermount(user):
    done = user('blaze mount work mnt && echo x >mnt/a && cat mnt/a && fusermount3 -u mnt && blaze mount work mnt && '
                'cat mnt/a && exec 3<mnt/a && ! blaze umount mnt && exec 3<&- && blaze umount mnt')
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('x\n') == 2 and 'is in use' in done.stderr
    assert user('blaze mount').stdout.split() == ['work', 'not', 'mounted']


@pytest.mark.root
def test_user_mounts_over_a_dead_mount(user):
    done = user('blaze mount work mnt && echo x >mnt/a && kill -9 $(blaze mount --json | grep -o \'[0-9]*}\' | tr -d })'
                ' && while stat -f mnt; do :; done >/dev/null 2>&1; blaze mount work mnt && cat mnt/a')
    assert done.stdout.endswith('x\n') and 'dead mount' in done.stderr


@pytest.mark.root
@pytest.mark.parametrize('before, command, word', [
    ('true', 'blaze mount work mnt --allow-other', 'user_allow_other'),
    ('mkdir locked && chmod 555 locked', 'blaze mount work locked', 'no write access'),
    ('true', 'blaze mount work mnt --user=root', 'only root'),
    ('true', 'blaze mount work /proc/self', ''),
    ('chmod 000 fuse', 'blaze mount work mnt', '/dev/fuse')])
def test_user_is_told_why_not(user, before, command, word):
    assert user(before).returncode == 0
    done = user(command)
    assert done.returncode == 1
    one_line(done, word)


@pytest.mark.root
def test_system_without_fuse_is_named(user):
    done = user('mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 && '
                'blaze mount work mnt', uid=None)
    assert done.returncode == 1
    one_line(done, 'modprobe fuse')


# ---- systemd ----------------------------------------------------------------------------------------

@pytest.fixture(params=['path', 'abstract'])
def supervisor(request, directory):
    """What systemd would hear: a socket, and its address as NOTIFY_SOCKET says it."""
    name = f'{directory}/notify' if request.param == 'path' else f'@blaze-test-{directory.name}'
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(name.replace('@', '\0') if name[0] == '@' else name)
        s.settimeout(10 * SCALE)
        yield s, name


def test_systemd_hears_of_ready_and_of_the_end(device, supervisor):
    heard, address = supervisor
    device.init()
    process = subprocess.Popen([BIN, 'mount', 'work', device.mnt, '-f'], env=dict(device.env, NOTIFY_SOCKET=address),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ready = heard.recv(4096).decode().splitlines()
    assert ready[0] == 'READY=1' and f'MAINPID={process.pid}' in ready and ready[-1].startswith('STATUS=Mounted')
    assert is_mounted(device.mnt) and device.write('a.txt', 'at once') and device.names() == ['a.txt']
    process.terminate()
    assert heard.recv(4096).decode().startswith('STOPPING=1\n')
    assert process.wait(10 * SCALE) == 0


def test_systemd_hears_nothing_of_a_mount_that_failed(device, supervisor):
    heard, address = supervisor
    device.init()
    device.run('mount', 'work', device.mnt / 'missing', '-f', env={'NOTIFY_SOCKET': address}, code=1)
    heard.setblocking(False)
    with pytest.raises(BlockingIOError):
        heard.recv(4096)


def test_installed_unit_names_the_installed_program(directory):
    subprocess.run(['cmake', '--install', BUILD, '--prefix', '/opt/blaze'], check=True, capture_output=True,
                   env=dict(os.environ, DESTDIR=str(directory)))
    root = directory / 'opt' / 'blaze'
    unit = (root / 'lib/systemd/user/blaze@.service').read_text(encoding='utf-8')
    assert 'ExecStart=/opt/blaze/bin/blaze mount ' in unit and 'Type=notify' in unit and '@bin' not in unit
    assert (root / 'sbin' / 'mount.blaze').resolve() == root / 'bin' / 'blaze'


@pytest.mark.skipif(not shutil.which('systemd-analyze'), reason='needs systemd-analyze')
def test_systemd_finds_no_fault_in_the_unit(directory):
    text = (ROOT / 'blaze@.service.in').read_text(encoding='utf-8').replace('@bindir@/blaze', BIN)
    (directory / 'blaze@work.service').write_text(text)
    done = subprocess.run(['systemd-analyze', '--user', '--man=no', 'verify', directory / 'blaze@work.service'],
                          env=dict(os.environ, XDG_RUNTIME_DIR=str(directory)), capture_output=True, text=True,
                          check=False)
    assert (done.returncode, done.stderr) == (0, '')


# ---- df ---------------------------------------------------------------------------------------------

def test_df_tells_of_the_file_system_that_holds_the_database(node):
    node.write('a.txt', 'x')
    mine, disk = os.statvfs(node.mnt), os.statvfs(node.home)
    assert (mine.f_blocks * mine.f_frsize, mine.f_files) == (disk.f_blocks * disk.f_frsize, disk.f_files)
    assert mine.f_namemax == 255
    slack = disk.f_blocks * disk.f_frsize // 20  # others write to the disk meanwhile
    for name in ('f_bfree', 'f_bavail'):
        assert abs(getattr(mine, name) * mine.f_frsize - getattr(disk, name) * disk.f_frsize) <= slack
    assert mine.f_fsid == os.statvfs(node.path('a.txt')).f_fsid


@pytest.mark.root
def test_df_follows_the_room_there_is(directory):
    node = Node(directory, 'small')
    node.home.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64m,nr_inodes=1000,mode=700', 'tmpfs', node.home], check=True)
    try:
        node.init().mount()
        before = os.statvfs(node.mnt)
        assert before.f_blocks * before.f_frsize == 64 << 20 and before.f_files == 1000
        (node.home / 'filler').write_bytes(bytes(16 << 20))
        after = os.statvfs(node.mnt)
        assert (before.f_bavail - after.f_bavail) * before.f_frsize >= 16 << 20
        node.close()
    finally:
        node.discard()
        subprocess.run(['umount', '-l', node.home], check=True)
