"""Hard links: as on a local disk here, files with the same bytes on other devices."""
import ctypes
import errno
import os
import stat

import pytest

from blazetest.syscalls import EXCHANGE, renameat2
from blazetest.wait import eventually

LIBC = ctypes.CDLL(None, use_errno=True)
AT_SYMLINK_FOLLOW = 0x400


def fails(number):
    """An operation fails with this errno."""
    class Fails:
        def __enter__(self):
            return self

        def __exit__(self, kind, error, _):
            assert kind is not None and issubclass(kind, OSError), f'no {errno.errorcode[number]}'
            assert error.errno == number, error
            return True
    return Fails()


@pytest.fixture(params=['mount', 'tmpfs'])
def place(request, directory):
    """A directory of a mount, and one of the machine: both have to behave the same."""
    if request.param == 'mount':
        node = request.getfixturevalue('node')
        node.path('d').mkdir()
        return node.path('d')
    (directory / 'd').mkdir()
    return directory / 'd'


def same_file(one, other):
    a, b = one.lstat(), other.lstat()
    return a.st_ino == b.st_ino and a.st_nlink == b.st_nlink


def test_both_names_are_one_file(place):
    one, other = place / 'a.json', place / 'b.txt'
    one.write_text('{"v":1}')
    before = one.stat()
    os.link(one, other)
    assert same_file(one, other) and one.stat().st_nlink == 2
    assert one.stat().st_ctime_ns > before.st_ctime_ns and one.stat().st_mtime_ns == before.st_mtime_ns
    other.write_text('{"v":2}')
    assert one.read_text() == '{"v":2}'
    os.chmod(one, 0o741)
    assert stat.S_IMODE(other.stat().st_mode) == 0o741


def test_each_name_can_go_first(place):
    for keep in 'ab':
        names = {name: place / f'{keep}{name}' for name in 'ab'}
        names['a'].write_text('x')
        os.link(names['a'], names['b'])
        ctime = names['a'].stat().st_ctime_ns
        names['b' if keep == 'a' else 'a'].unlink()
        left = names[keep].stat()
        assert left.st_nlink == 1 and left.st_ctime_ns > ctime and names[keep].read_text() == 'x'


def test_link_moves_the_directorys_times_and_not_its_link_count(place):
    (place / 'a').write_text('x')
    (place / 'sub').mkdir()
    before = (place / 'sub').stat()
    eventually(lambda: (place / 'a').write_text('y') and (place / 'a').stat().st_ctime_ns > before.st_ctime_ns, 5,
               'the clock of the file system goes on')
    os.link(place / 'a', place / 'sub/b')
    after = (place / 'sub').stat()
    assert after.st_nlink == before.st_nlink
    assert after.st_mtime_ns > before.st_mtime_ns and after.st_ctime_ns > before.st_ctime_ns


def test_impossible_links(place):
    (place / 'a').write_text('x')
    (place / 'dir').mkdir()
    with fails(errno.EPERM):
        os.link(place / 'dir', place / 'b')
    with fails(errno.EEXIST):
        os.link(place / 'a', place / 'a')
    with fails(errno.EEXIST):
        os.link(place / 'a', place / 'dir')
    with fails(errno.ENOENT):
        os.link(place / 'none', place / 'b')
    with fails(errno.ENOENT):
        os.link(place / 'a', place / 'none/b')
    with fails(errno.ENOTDIR):
        os.link(place / 'a', place / 'a/b')
    with fails(errno.ENAMETOOLONG):
        os.link(place / 'a', place / ('n' * 256))
    os.link(place / 'a', place / ('n' * 255))
    assert (place / 'a').stat().st_nlink == 2


def test_link_of_an_unlinked_open_file_is_refused(place):
    with open(place / 'a', 'w') as f:
        (place / 'a').unlink()
        source = f'/proc/self/fd/{f.fileno()}'.encode()
        assert LIBC.linkat(-100, source, -100, bytes(place / 'b'), AT_SYMLINK_FOLLOW) == -1
        assert ctypes.get_errno() == errno.ENOENT


def test_rename_of_one_name_over_the_other_does_nothing(place):
    (place / 'a').write_text('x')
    os.link(place / 'a', place / 'b')
    os.rename(place / 'a', place / 'b')
    assert sorted(os.listdir(place)) == ['a', 'b'] and same_file(place / 'a', place / 'b')


def test_rename_over_a_link_leaves_the_other_name(place):
    (place / 'a').write_text('old')
    os.link(place / 'a', place / 'b')
    (place / 'c').write_text('new')
    os.rename(place / 'c', place / 'a')
    assert (place / 'a').read_text() == 'new' and (place / 'b').read_text() == 'old'
    assert (place / 'a').stat().st_nlink == (place / 'b').stat().st_nlink == 1
    assert (place / 'a').stat().st_ino != (place / 'b').stat().st_ino


def test_rename_of_a_link_keeps_it_linked(place):
    (place / 'a').write_text('x')
    (place / 'sub').mkdir()
    os.link(place / 'a', place / 'b')
    os.rename(place / 'b', place / 'sub/c')
    os.rename(place / 'a', place / 'd')
    assert same_file(place / 'd', place / 'sub/c') and (place / 'd').stat().st_nlink == 2
    (place / 'd').write_text('y')
    assert (place / 'sub/c').read_text() == 'y'


@pytest.mark.parametrize('make', [
    lambda p: os.symlink('target', p), lambda p: os.mkfifo(p),
    lambda p: os.mknod(p, stat.S_IFSOCK | 0o600)], ids=['symlink', 'fifo', 'socket'])
def test_everything_but_directories_can_be_linked(place, make):
    make(place / 'a')
    os.link(place / 'a', place / 'b', follow_symlinks=False)
    assert same_file(place / 'a', place / 'b') and (place / 'a').lstat().st_nlink == 2
    (place / 'a').unlink()
    assert (place / 'b').lstat().st_nlink == 1
    assert not (place / 'b').is_symlink() or os.readlink(place / 'b') == 'target'


def test_open_descriptor_survives_all_its_names(place):
    (place / 'a').write_text('x')
    os.link(place / 'a', place / 'b')
    with open(place / 'b', 'r+') as f:
        (place / 'a').unlink()
        assert os.fstat(f.fileno()).st_nlink == 1
        (place / 'b').unlink()
        assert os.fstat(f.fileno()).st_nlink == 0
        f.write('still')
        f.flush()
        assert os.pread(f.fileno(), 10, 0) == b'still'


def test_names_that_stay_here_and_names_that_travel_are_one_file(pair):
    a, b = pair.nodes
    a.write('r.txt', 'one')
    os.link(a.path('r.txt'), a.path('r.txt~'))
    os.link(a.path('r.txt~'), a.path('s.txt'))
    a.path('r.txt~').write_text('two')
    pair.nodes[0].wait()
    assert a.path('s.txt').stat().st_nlink == 3
    assert b.names() == ['r.txt', 's.txt'] and b.text('r.txt') == b.text('s.txt') == 'two'
    a.path('r.txt').unlink()
    a.path('s.txt').unlink()
    assert a.text('r.txt~') == 'two'
    a.wait()
    eventually(lambda: b.names() == [], 10, 'nothing that travels is left')


def linked(pair):
    """x.json and y.json, one file on the first device, everywhere."""
    a, b = pair.nodes
    a.write('c/x.json', '{"v": 1}')
    os.link(a.path('c/x.json'), a.path('c/y.json'))
    pair.synced()
    assert b.text('c/x.json') == b.text('c/y.json') == '{"v": 1}'
    return a, b, a.path('c/x.json'), a.path('c/y.json')


@pytest.mark.parametrize('through', ['x.json', 'y.json'])
def test_save_through_one_name_is_a_save_of_both(pair, through):
    a, b, x, y = linked(pair)
    a.path(f'c/{through}').write_text('{"v": 2}')
    pair.synced()
    assert b.text('c/x.json') == b.text('c/y.json') == '{"v": 2}'
    assert same_file(x, y)


@pytest.mark.parametrize('name', ['x.json', 'y.json'])
def test_edit_elsewhere_splits_the_name_off(pair, name):
    a, b, x, y = linked(pair)
    inode, descriptor = x.stat().st_ino, os.open(x, os.O_RDONLY)
    b.write(f'c/{name}', '{"v": 3}')
    b.wait()
    other = x if name == 'y.json' else y
    eventually(lambda: a.text(f'c/{name}') == '{"v": 3}' and other.stat().st_nlink == 1, 10, 'the edit arrives')
    assert other.read_text() == '{"v": 1}' and other.stat().st_ino == inode != a.path(f'c/{name}').stat().st_ino
    assert os.pread(descriptor, 100, 0) == b'{"v": 1}'
    os.close(descriptor)
    other.write_text('{"v": 4}')
    pair.synced()
    assert b.text(f'c/{name}') == '{"v": 3}' and b.text(f'c/{other.name}') == '{"v": 4}'


@pytest.mark.parametrize('name', ['x.json', 'y.json'])
def test_deletion_elsewhere_takes_one_name(pair, name):
    a, b, x, y = linked(pair)
    b.path(f'c/{name}').unlink()
    b.wait()
    other = x if name == 'y.json' else y
    eventually(lambda: a.names('c') == [other.name] and other.stat().st_nlink == 1, 10, 'the deletion arrives')
    other.write_text('{"v": 5}')
    pair.synced()
    assert b.names('c') == [other.name] and b.text(f'c/{other.name}') == '{"v": 5}'


@pytest.mark.parametrize('name', ['x.json', 'y.json'])
def test_move_elsewhere_moves_one_name(pair, name):
    a, b, x, y = linked(pair)
    b.path('c/sub').mkdir()
    os.rename(b.path(f'c/{name}'), b.path('c/sub/z.json'))
    b.wait()
    other = x if name == 'y.json' else y
    eventually(lambda: a.exists('c/sub/z.json') and not a.exists(f'c/{name}'), 10, 'the move arrives')
    assert same_file(other, a.path('c/sub/z.json'))
    other.write_text('{"v": 6}')
    pair.synced()
    assert b.text('c/sub/z.json') == '{"v": 6}'


def test_executable_bit_belongs_to_all_names(pair):
    a, b, x, y = linked(pair)
    y.chmod(0o755)
    a.wait()
    eventually(lambda: all(os.access(b.path(f'c/{n}.json'), os.X_OK) for n in 'xy'), 10, 'both are executable')
    b.path('c/x.json').chmod(0o644)
    b.wait()
    eventually(lambda: x.stat().st_nlink == 1 and not x.stat().st_mode & 0o100, 10, 'x is alone')
    assert y.stat().st_mode & 0o100


def test_first_name_goes_and_the_second_still_syncs(pair):
    a, b, x, y = linked(pair)
    x.unlink()
    y.write_text('{"v": 7}')
    pair.synced()
    assert b.names('c') == ['y.json'] and b.text('c/y.json') == '{"v": 7}'


def test_edits_of_a_linked_file_merge_with_edits_elsewhere(pair):
    a, b, x, y = linked(pair)
    with open(x, 'r+') as f:
        f.write('{"v": 1, "a": 1}')
        f.flush()
        b.write('c/y.json', '{"v": 1, "b": 1}')
        # No command may be run meanwhile: a fork would close a copy of the file, which publishes it.
        eventually(lambda: b.xattr('c/y.json', 'blaze.synced') == '1', 10, 'the edit has arrived')
    pair.synced()
    assert same_file(x, y) and x.read_text() == y.read_text()
    assert '"a"' in x.read_text() and '"b"' in x.read_text()


def test_save_by_rename_leaves_the_other_name_as_it_was(pair):
    a, b, x, y = linked(pair)
    identity = b.xattr('c/x.json', 'blaze.id')
    a.sh('sed -i s/1/8/ c/x.json')
    pair.synced()
    assert b.text('c/x.json') == '{"v": 8}' and b.text('c/y.json') == '{"v": 1}'
    assert b.xattr('c/x.json', 'blaze.id') == a.xattr('c/x.json', 'blaze.id') == identity
    assert x.stat().st_nlink == y.stat().st_nlink == 1


def test_backup_by_link_keeps_the_records_identity(pair):
    a, b = pair.nodes
    a.write('r.json', '{"v": 1}')
    pair.synced()
    identity = b.xattr('r.json', 'blaze.id')
    a.sh("perl -i.bak -pe 's/1/2/' r.json")
    pair.synced()
    assert b.names() == ['r.json', 'r.json.bak']
    assert b.text('r.json') == '{"v": 2}' and b.text('r.json.bak') == '{"v": 1}'
    assert b.xattr('r.json', 'blaze.id') == a.xattr('r.json', 'blaze.id') == identity
    assert len(b.log('r.json')) == 2


def test_linked_tree_and_incremental_backup(pair):
    a, b = pair.nodes
    for n in range(8):
        a.write(f'src/d{n % 3}/f{n}.json', f'{{"n": {n}}}')
    os.symlink('d0/f0.json', a.path('src/link'))
    a.sh('cp -al src copy')
    pair.synced()
    assert same_file(a.path('src/d1/f1.json'), a.path('copy/d1/f1.json'))
    a.sh('cp -a src now; printf changed > now/d2/f2.json; rsync -a --link-dest=../copy now/ backup/')
    assert same_file(a.path('backup/d0/f0.json'), a.path('copy/d0/f0.json'))
    assert a.path('backup/d2/f2.json').stat().st_nlink == 1
    pair.synced()
    assert b.text('backup/d0/f0.json') == '{"n": 0}' and b.text('backup/d2/f2.json') == 'changed'
    a.sh('rm -rf copy')
    pair.synced()
    assert a.path('backup/d0/f0.json').stat().st_nlink == 2 and not b.exists('copy')


def test_local_clone_of_a_git_repository(node):
    node.sh('''git init -q --bare store.git && git clone -q store.git one 2>/dev/null && cd one
               git config user.email a@b && git config user.name a && echo text > file && git add file
               git commit -qm first && git push -q origin HEAD && cd .. && git clone -q --local store.git two
               cd two && git fsck --strict && cmp file ../one/file''')
    found = [path for path in node.path('two/.git/objects').rglob('*') if path.is_file()]
    assert found and all(path.stat().st_nlink == 2 for path in found)


def test_moved_directory_takes_its_names_with_it(pair):
    a, b, x, y = linked(pair)
    a.path('e').mkdir()
    os.link(x, a.path('e/z.json'))
    os.rename(a.path('c'), a.path('f'))
    pair.synced()
    assert a.path('e/z.json').stat().st_nlink == 3 and same_file(a.path('f/x.json'), a.path('e/z.json'))
    a.write('f/y.json', '{"v": 9}')
    pair.synced()
    assert b.text('e/z.json') == b.text('f/x.json') == b.text('f/y.json') == '{"v": 9}'


def test_exchange_of_links_and_with_another_file(node):
    def exchange(one, other):
        renameat2(node.path(one), node.path(other), EXCHANGE)
    node.write('a.json', '1')
    os.link(node.path('a.json'), node.path('b.json'))
    node.write('c.json', '2')
    exchange('a.json', 'b.json')
    assert same_file(node.path('a.json'), node.path('b.json')) and node.text('a.json') == '1'
    exchange('a.json', 'c.json')
    assert (node.text('a.json'), node.text('b.json'), node.text('c.json')) == ('2', '1', '1')
    assert same_file(node.path('b.json'), node.path('c.json'))
    node.write('b.json', '3')
    assert node.text('c.json') == '3' and node.text('a.json') == '2'


@pytest.mark.parametrize('end', ['kill9', 'stop'])
def test_links_survive(node, end):
    node.write('c/a.json', '{"v": 1}')
    os.symlink('a.json', node.path('c/s'))
    os.mkfifo(node.path('c/p'))
    for name in ('a.json', 's', 'p'):
        for other in ('x', 'y~', 'tmp'):
            os.link(node.path(f'c/{name}'), node.path(f'c/{name}.{other}'), follow_symlinks=False)
    node.path('c/a.json').unlink()
    node.write('c/a.json.y~', '{"v": 2}')
    before = {name: node.path(f'c/{name}').lstat() for name in node.names('c')}
    getattr(node, end)().mount()
    for name, was in before.items():
        now = node.path(f'c/{name}').lstat()
        assert (now.st_ino, now.st_nlink, now.st_size) == (was.st_ino, was.st_nlink, was.st_size), name
    assert node.text('c/a.json.x') == node.text('c/a.json.tmp') == '{"v": 2}'
    node.write('c/a.json.x', '{"v": 3}')
    assert node.text('c/a.json.y~') == '{"v": 3}'


@pytest.mark.timeout(300)
def test_a_file_has_65000_names_at_most(node):
    node.path('.git').mkdir()
    first = node.path('.git/0')
    first.write_text('x')
    for n in range(1, 65000):
        os.link(first, node.path(f'.git/{n}'))
    with fails(errno.EMLINK):
        os.link(first, node.path('.git/more'))
    assert first.stat().st_nlink == 65000
