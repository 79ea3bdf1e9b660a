"""P1 on one device: files behave as files do, byte for byte, before and after a remount."""
import errno
import fcntl
import mmap
import os
import random
import subprocess

import pytest

from blazetest.syscalls import EXCHANGE, KEEP_SIZE, NOREPLACE, PUNCH_HOLE, fallocate, renameat2
from blazetest.wait import eventually


def fails(number):
    return pytest.raises(OSError, match=rf'\[Errno {number}\]')


# ---- contents ---------------------------------------------------------------------------------------

CONTENTS = {
    'empty': b'',
    'json': b'{"title": "x", "n": 1.50, "big": 12345678901234567890123, "e": 1e2}\n',
    'json_pretty': b'{\n    "b": 1,\n\t"a": [1, 2,  3],\r\n  "c": {"d": null}\n}',
    'json_escapes': b'{"\\u0041\\n\\/": "\\ud83d\\ude00 \\u00e9"}',
    'json_bom': b'\xef\xbb\xbf{"a":1}\n',
    'json_duplicate_keys': b'{"a":1,"a":2}',
    'json_lone_surrogate': b'{"a":"\\ud800"}',
    'json_deep': b'[' * 100 + b']' * 100,
    'json_scalar': b'  42  \n',
    'json_truncated': b'{"title":',
    'json_trailing': b'{"a":1} tail',
    'json_nan': b'{"a":NaN}',
    'json_empty_key': b'{"":{"":{"":0}}}',
    'json_blank': b' \n\t ',
    'crlf': b'one\r\ntwo\r\n',
    'no_newline': b'last line',
    'binary': bytes(range(256)) * 17,
    'invalid_utf8': b'\xff\xfe\x80 text \xc0\xaf',
    'nul': b'\0',
    'mebibyte': random.Random(1).randbytes(1 << 20),
    'sparse': bytes(300000) + b'end',
}


@pytest.fixture(scope='module')
def shared(tmp_path_factory):
    """One mount for the tests that only need a file of their own."""
    from blazetest import Node
    node = Node(tmp_path_factory.mktemp('files'))
    yield node.init().mount()
    node.close()


@pytest.mark.parametrize('suffix', ['json', 'txt', 'bin'])
@pytest.mark.parametrize('name', CONTENTS)
def test_reads_back_as_written(shared, name, suffix):
    path = f'contents/{name}.{suffix}'
    shared.write(path, CONTENTS[name])
    assert shared.read(path) == CONTENTS[name]
    assert shared.path(path).stat().st_size == len(CONTENTS[name])


def test_contents_survive_a_remount(node):
    for name, content in CONTENTS.items():
        for suffix in ('json', 'txt'):
            node.write(f'{name}.{suffix}', content)
    before = node.tree()
    assert node.remount().tree() == before
    assert all(node.read(f'{name}.json') == content for name, content in CONTENTS.items())


def test_large_file_reads_back(node):
    data = random.Random(2).randbytes(20 << 20)
    assert node.read(node.write('large.bin', data)) == data
    assert node.remount().read('large.bin') == data


# ---- writing ----------------------------------------------------------------------------------------

def test_truncating_open_and_rewrite(shared):
    path = shared.write('truncate.json', '{"long":"content"}')
    path.write_text('{}')
    assert path.read_text() == '{}'


def test_append_goes_to_the_end(shared):
    path = shared.write('append.txt', 'one\n')
    with open(path, 'a', encoding='utf-8') as a, open(path, 'a', encoding='utf-8') as b:
        for f, line in ((a, 'two\n'), (b, 'three\n'), (a, 'four\n')):
            f.write(line)
            f.flush()
    assert path.read_text() == 'one\ntwo\nthree\nfour\n'


def test_pwrite_into_the_middle_and_beyond_the_end(shared):
    path = shared.write('pwrite.bin', b'0123456789')
    fd = os.open(path, os.O_RDWR)
    os.pwrite(fd, b'AB', 4)
    os.pwrite(fd, b'Z', 20)
    assert os.pread(fd, 100, 0) == b'0123AB6789' + bytes(10) + b'Z'
    os.close(fd)
    assert path.read_bytes() == b'0123AB6789' + bytes(10) + b'Z'


def test_write_is_visible_to_other_readers_before_close(shared):
    path = shared.write('open.txt', 'old')
    with open(path, 'r+b', buffering=0) as writer, open(path, 'rb', buffering=0) as reader:
        writer.write(b'NEW and longer')
        assert reader.read() == b'NEW and longer'
        assert path.stat().st_size == 14


@pytest.mark.parametrize('size', [0, 3, 10, 5000, 1 << 20])
def test_truncate_to_any_size(shared, size):
    path = shared.write(f'size{size}.bin', b'0123456789')
    os.truncate(path, size)
    assert path.read_bytes() == (b'0123456789' + bytes(size))[:size]


def test_ftruncate_of_an_open_file(shared):
    with open(shared.write('ftruncate.bin', b'0123456789'), 'r+b', buffering=0) as f:
        f.truncate(4)
        assert os.fstat(f.fileno()).st_size == 4 and f.read() == b'0123'


def test_fallocate_grows_or_refuses_cleanly(shared):
    with open(shared.write('fallocate.bin', b'abc'), 'r+b') as f:
        try:
            fallocate(f.fileno(), 0, 0, 1000)
            assert f.read() == b'abc' + bytes(997)
            fallocate(f.fileno(), KEEP_SIZE | PUNCH_HOLE, 0, 2)
            assert os.pread(f.fileno(), 3, 0) == b'\0\0c'
        except OSError as e:
            assert e.errno == errno.EOPNOTSUPP


def test_seek_data_and_hole(shared):
    with open(shared.write('seek.bin', b'x' * 5000), 'rb') as f:
        assert os.lseek(f.fileno(), 10, os.SEEK_DATA) == 10
        assert os.lseek(f.fileno(), 10, os.SEEK_HOLE) == 5000
        with fails(errno.ENXIO):
            os.lseek(f.fileno(), 5001, os.SEEK_DATA)


def test_mmap_shared_writes_reach_the_file(shared):
    path = shared.write('mmap.bin', bytes(8192))
    with open(path, 'r+b') as f, mmap.mmap(f.fileno(), 8192) as m:
        m[4096:4100] = b'page'
        m.flush()
    assert path.read_bytes()[4096:4100] == b'page'


def test_exclusive_create_fails_on_an_existing_file(shared):
    with fails(errno.EEXIST):
        open(shared.write('exclusive', 'x'), 'x', encoding='utf-8')


# ---- names ------------------------------------------------------------------------------------------

def test_rename_over_another_file(shared):
    a, b = shared.write('over/a', 'A'), shared.write('over/b', 'B')
    inode = a.stat().st_ino
    os.rename(a, b)
    assert shared.names('over') == ['b'] and b.read_text() == 'A' and b.stat().st_ino == inode


def test_rename_noreplace(shared):
    a, b = shared.write('noreplace/a', 'A'), shared.write('noreplace/b', 'B')
    with fails(errno.EEXIST):
        renameat2(a, b, NOREPLACE)
    renameat2(a, b.with_name('c'), NOREPLACE)
    assert shared.names('noreplace') == ['b', 'c']


def test_rename_exchange(shared):
    a, b = shared.write('exchange/a', 'A'), shared.write('exchange/b', 'B')
    renameat2(a, b, EXCHANGE)
    assert (a.read_text(), b.read_text()) == ('B', 'A')
    with fails(errno.ENOENT):
        renameat2(a, b.with_name('missing'), EXCHANGE)


def test_rename_over_an_open_file_keeps_the_old_bytes_readable(shared):
    a, b = shared.write('opened/a', 'A'), shared.write('opened/b', 'B' * 10000)
    with open(b, 'rb', buffering=0) as old:
        os.rename(a, b)
        assert old.read() == b'B' * 10000 and b.read_text() == 'A'


def test_rename_of_an_open_file_keeps_the_descriptor_on_it(shared):
    path = shared.write('moving/a', 'A')
    with open(path, 'ab', buffering=0) as f:
        os.rename(path, path.with_name('b'))
        f.write(b'more')
    assert shared.names('moving') == ['b'] and shared.text('moving/b') == 'Amore'


@pytest.mark.parametrize('what', ['file over directory', 'directory over file', 'directory over full one',
                                  'directory into itself', 'missing'])
def test_impossible_renames(shared, what):
    top = f'renames/{what.replace(" ", "_")}'
    shared.write(f'{top}/dir/inner', 'x')
    shared.write(f'{top}/full/inner', 'x')
    shared.write(f'{top}/file', 'x')
    old, new, number = {
        'file over directory': ('file', 'dir', errno.EISDIR),
        'directory over file': ('dir', 'file', errno.ENOTDIR),
        'directory over full one': ('dir', 'full', errno.ENOTEMPTY),
        'directory into itself': ('dir', 'dir/sub', errno.EINVAL),
        'missing': ('missing', 'new', errno.ENOENT)}[what]
    with fails(number):
        os.rename(shared.path(f'{top}/{old}'), shared.path(f'{top}/{new}'))


def test_directory_renames_with_all_below_it(node):
    node.write('a/b/c/file.json', '{"deep":true}')
    os.rename(node.path('a/b'), node.path('moved'))
    assert node.text('moved/c/file.json') == '{"deep":true}' and not node.exists('a/b')
    assert node.remount().text('moved/c/file.json') == '{"deep":true}'


def test_unlinked_file_lives_while_it_is_open(shared):
    path = shared.write('unlinked', 'still here')
    with open(path, 'r+b', buffering=0) as f:
        path.unlink()
        assert not path.exists() and f.read() == b'still here'
        f.write(b', and growing')
        assert os.pread(f.fileno(), 100, 0) == b'still here, and growing'
        assert os.fstat(f.fileno()).st_nlink == 0


def test_mkdir_and_rmdir(shared):
    os.mkdir(shared.path('rm'))
    shared.write('rm/file', 'x')
    with fails(errno.ENOTEMPTY):
        os.rmdir(shared.path('rm'))
    shared.path('rm/file').unlink()
    os.rmdir(shared.path('rm'))
    assert not shared.exists('rm')
    with fails(errno.ENOENT):
        os.rmdir(shared.path('rm'))


def test_unlink_of_a_directory_and_rmdir_of_a_file(shared):
    shared.write('kinds/file', 'x')
    with fails(errno.EISDIR):
        os.unlink(shared.path('kinds'))
    with fails(errno.ENOTDIR):
        os.rmdir(shared.path('kinds/file'))


@pytest.mark.parametrize('target', ['a', '../up', '/absolute/nowhere', 'x' * 1000, 'ünïcode'])
def test_symlink_keeps_its_target(node, target):
    os.symlink(target, node.path('link'))
    assert os.readlink(node.path('link')) == target
    assert node.path('link').lstat().st_size == len(target.encode())
    assert os.readlink(node.remount().path('link')) == target


def test_symlink_is_followed(shared):
    shared.write('followed/target', 'found')
    os.symlink('target', shared.path('followed/link'))
    assert shared.text('followed/link') == 'found'


@pytest.mark.parametrize('name', ['x' * 255, 'ü' * 127, 'a b', "it's", '日本語', '-rf', '\\', '%41'])
def test_unusual_names(node, name):
    node.write(f'names/{name}', name)
    shown = node.names('names')
    # What a terminal must not see is shown escaped, on this device too; the name given still finds it.
    assert shown == [name] if name.isprintable() else len(shown) == 1 and shown[0].isprintable()
    assert node.remount().text(f'names/{name}') == name and node.names('names') == shown


@pytest.mark.parametrize('name', ['new\nline', 'bell\x07', '\u202egnp.exe'])
def test_name_with_control_characters_works_and_is_listed_escaped(node, name):
    node.write(f'names/{name}', 'x')
    for _ in range(2):
        (shown,) = node.names('names')
        assert shown.isprintable() and node.text(f'names/{shown}') == 'x'
        assert node.text(f'names/{name}') == 'x'
        node.remount()


def test_name_of_300_bytes_is_too_long(shared):
    for make in (os.mkdir, lambda p: open(p, 'w'), os.stat, lambda p: os.symlink('x', p)):
        with fails(errno.ENAMETOOLONG):
            make(shared.path('x' * 300))


def test_directory_of_5000_entries_lists_each_once(node):
    os.mkdir(node.path('many'))
    for i in range(5000):
        node.path(f'many/{i}.json').touch()
    assert node.names('many') == sorted(f'{i}.json' for i in range(5000))
    assert len(node.remount().names('many')) == 5000


def test_deleting_while_listing_skips_nothing(node):
    os.mkdir(node.path('many'))
    for i in range(1000):
        node.path(f'many/{i}').touch()
    with os.scandir(node.path('many')) as entries:
        for entry in entries:
            os.unlink(entry.path)
    assert node.names('many') == []


def test_hard_link_works_or_is_refused_cleanly(shared):
    path = shared.write('hard/a', 'x')
    try:
        os.link(path, path.with_name('b'))
    except OSError as e:
        assert e.errno in (errno.EPERM, errno.EOPNOTSUPP)
    else:
        assert path.stat().st_nlink == 2 and path.with_name('b').stat().st_ino == path.stat().st_ino


# ---- attributes -------------------------------------------------------------------------------------

def test_modes_and_times_are_kept(node):
    path = node.write('attr.txt', 'x')
    os.chmod(path, 0o750)
    os.utime(path, ns=(1_111_111_111_123_456_789, 1_222_222_222_987_654_321))
    for _ in range(2):
        st = path.stat()
        assert st.st_mode & 0o7777 == 0o750
        assert (st.st_atime_ns, st.st_mtime_ns) == (1_111_111_111_123_456_789, 1_222_222_222_987_654_321)
        node.remount()


def test_new_file_honours_umask(node):
    node.sh('umask 027; touch file; mkdir dir')
    assert node.path('file').stat().st_mode & 0o777 == 0o640
    assert node.path('dir').stat().st_mode & 0o777 == 0o750


def test_writing_moves_mtime_and_reading_does_not(node):
    path = node.write('times', 'x')
    os.utime(path, ns=(10**18, 10**18))
    path.read_bytes()
    assert path.stat().st_mtime_ns == 10**18
    path.write_text('y')
    assert path.stat().st_mtime_ns > 10**18


def test_inode_numbers_are_stable_and_agree_with_readdir(node):
    node.write('dir/a', 'x')
    inode = node.path('dir/a').stat().st_ino
    assert {e.name: e.inode() for e in os.scandir(node.path('dir'))} == {'a': inode}


def test_link_counts_of_directories_and_files(shared):
    shared.write('links/a', 'x')
    assert shared.path('links/a').stat().st_nlink == 1
    assert shared.path('links').stat().st_nlink >= 1


def test_statvfs_reports_room(shared):
    st = os.statvfs(shared.mnt)
    assert st.f_bsize > 0 and st.f_blocks >= st.f_bavail > 0 and st.f_namemax == 255


def test_user_xattrs_are_kept(node):
    path = node.write('attr.json', '{}')
    os.setxattr(path, 'user.colour', b'blue\0\xff')
    assert os.listxattr(path) == ['user.colour']
    assert os.getxattr(node.remount().path('attr.json'), 'user.colour') == b'blue\0\xff'
    os.removexattr(path, 'user.colour')
    assert os.listxattr(path) == []
    with fails(errno.ENODATA):
        os.getxattr(path, 'user.colour')


def test_xattr_create_and_replace_flags(shared):
    path = shared.write('flags', 'x')
    with fails(errno.ENODATA):
        os.setxattr(path, 'user.a', b'1', os.XATTR_REPLACE)
    os.setxattr(path, 'user.a', b'1', os.XATTR_CREATE)
    with fails(errno.EEXIST):
        os.setxattr(path, 'user.a', b'2', os.XATTR_CREATE)


def test_blaze_xattrs_are_facts_hidden_and_read_only(node):
    path = node.write('facts.json', '{"a":1}')
    assert len(node.xattr('facts.json', 'blaze.id')) >= 16
    assert node.xattr('facts.json', 'blaze.type') == 'json'
    assert node.xattr('facts.json', 'blaze.conflicts') == '0'
    assert node.xattr('facts.json', 'blaze.author') and node.xattr('facts.json', 'blaze.modified')
    assert node.xattr('facts.json', 'blaze.program').startswith(('python', 'pytest'))
    assert os.listxattr(path) == []
    with fails(errno.EPERM):
        os.setxattr(path, 'blaze.id', b'mine')


def test_rev_changes_with_each_save(node):
    path = node.write('rev.json', '{"a":1}')
    first = node.xattr('rev.json', 'blaze.rev')
    path.write_text('{"a":2}')
    assert node.xattr('rev.json', 'blaze.rev') != first


def test_acl_xattrs_are_not_supported(shared):
    path = shared.write('acl', 'x')
    with fails(errno.EOPNOTSUPP):
        os.setxattr(path, 'system.posix_acl_access', b'\2\0\0\0')


# ---- locks ------------------------------------------------------------------------------------------

TRY_LOCK = 'import fcntl, sys; fcntl.{0}(open(sys.argv[1], "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)'


@pytest.mark.parametrize('kind', ['flock', 'lockf'])
def test_locks_exclude_other_processes(shared, kind):
    path = shared.write(f'lock.{kind}', 'x')
    other = ['/usr/bin/python3', '-c', TRY_LOCK.format(kind), path]
    with open(path, 'r+', encoding='utf-8') as f:
        getattr(fcntl, kind)(f, fcntl.LOCK_EX)
        assert subprocess.run(other, capture_output=True, check=False).returncode == 1
    assert subprocess.run(other, capture_output=True, check=False).returncode == 0


# ---- many at once -----------------------------------------------------------------------------------

def test_four_writers_at_once(node):
    node.sh('for w in 1 2 3 4; do (for i in $(seq 100); do echo "{\\"n\\":$i}" > $w-$i.json; done) & done; wait')
    assert len(node.names()) == 400
    assert all(node.text(f'{w}-{i}.json') == f'{{"n":{i}}}\n' for w in range(1, 5) for i in (1, 50, 100))
    assert len(node.remount().names()) == 400


def test_empty_json_file_is_a_record_before_long(node):
    node.path('empty.json').touch()
    eventually(lambda: node.status()['held'] == 0, 4, 'nothing is held back for ever')
    assert len(node.log('empty.json')) == 1


def test_fsync_of_files_and_directories(shared):
    path = shared.write('fsync/a', 'x')
    for p, flags in ((path, os.O_RDWR), (path.parent, os.O_RDONLY)):
        fd = os.open(p, flags)
        os.fsync(fd)
        os.close(fd)


def test_interrupted_process_ends(node):
    node.write('a', 'x' * 100000)
    reader = subprocess.Popen(['bash', '-c', 'while :; do cat a > /dev/null; done'], cwd=node.mnt)
    reader.terminate()
    eventually(lambda: reader.poll() is not None, 5, 'a reader ends on SIGTERM')


def test_long_open_file_becomes_a_change_after_two_seconds(node):
    with open(node.path('open.json'), 'w', encoding='utf-8') as f:
        f.write('{"open":true}')
        f.flush()
        eventually(lambda: len(node.log('open.json')) == 1, 4, 'a change while the file is open')
