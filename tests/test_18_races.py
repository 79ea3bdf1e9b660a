"""An answer that was on its way while another device changed what it says: the kernel keeps nothing old."""
import os
import threading

import pytest

from blazetest.faults import Gate
from blazetest.wait import eventually


@pytest.fixture(params=['on', 'off'])
def gated(pair, request):
    """Two devices, and a gate on what the second says to its kernel. (An echo is one more answer, and may mend things.)"""
    a, b = pair.nodes
    gate = Gate(b)
    a.write('c/r.txt', 'old')
    a.write('c/other', 'x')
    pair.synced()
    b.remount(options=f'echo={request.param}')
    os.stat(b.path('c'))
    return a, b, gate


class Doing:
    """A system call in a thread of its own."""

    def __init__(self, call, *args):
        self.thread = threading.Thread(target=self._run, args=(call, *args))
        self.error = None
        self.thread.start()

    def _run(self, call, *args):
        try:
            call(*args)
        except OSError as e:
            self.error = e

    def done(self):
        self.thread.join(30)
        assert not self.thread.is_alive() and self.error is None, self.error




def test_lookup_of_a_file_that_the_kernel_does_not_know(gated):
    a, b, gate = gated
    with gate.held(f'reply {gate.LOOKUP}'):
        stat = Doing(os.stat, b.path('c/r.txt'))
        gate.waits()
        a.write('c/r.txt', 'a longer one')
        gate.tells()
    stat.done()
    eventually(lambda: os.stat(b.path('c/r.txt')).st_size == 12, 10, 'the size is the new one')
    assert b.text('c/r.txt') == 'a longer one'


def test_times_set_while_content_changes(gated):
    a, b, gate = gated
    assert b.text('c/r.txt') == 'old'
    with gate.held(f'reply {gate.SETATTR}'):
        utime = Doing(os.utime, b.path('c/r.txt'))
        gate.waits()
        a.write('c/r.txt', 'a longer one')
        gate.tells()
    utime.done()
    eventually(lambda: os.stat(b.path('c/r.txt')).st_size == 12, 10, 'the size is the new one')
    assert b.text('c/r.txt') == 'a longer one'


@pytest.mark.parametrize('gated', ['on'], indirect=True)
def test_echo_of_the_change_before(gated):
    a, b, gate = gated
    assert b.text('c/r.txt') == 'old'
    with gate.held(f'reply {gate.SETATTR}'):
        a.write('c/r.txt', 'new')
        gate.waits()
        gate.log.write_text('')
        a.write('c/r.txt', 'a longer one')
        gate.tells()
    eventually(lambda: os.stat(b.path('c/r.txt')).st_size == 12, 10, 'the size is the new one')
    assert b.text('c/r.txt') == 'a longer one'


@pytest.mark.parametrize('gated', ['on'], indirect=True)
def test_echo_of_the_creation(gated):
    a, b, gate = gated
    with gate.held(f'reply {gate.CREATE}'):
        a.write('c/new.txt', 'new')
        gate.waits()
        gate.log.write_text('')
        a.write('c/new.txt', 'a longer one')
        gate.tells()
    eventually(lambda: os.stat(b.path('c/new.txt')).st_size == 12, 10, 'the size is the new one')
    assert b.text('c/new.txt') == 'a longer one'


def test_create_of_what_another_device_just_made_does_not_have_to_come_again(gated):
    a, b, gate = gated
    assert not b.exists('c/new.txt')
    with gate.held('notify 0'):
        a.write('c/new.txt', 'new')
        gate.waits()
        a.write('c/new.txt', 'a longer one')
        a.wait()
        fd = os.open(b.path('c/new.txt'), os.O_RDWR | os.O_CREAT)
        assert os.pread(fd, 100, 0) == b'a longer one'
        os.close(fd)


def test_append_at_an_end_that_moved(gated):
    a, b, gate = gated
    a.write('c/log.txt', 'a' * 4096)
    a.wait()
    fd = os.open(b.path('c/log.txt'), os.O_RDWR | os.O_APPEND)
    assert os.pread(fd, 9999, 0) == b'a' * 4096
    gate.log.write_text('')
    with open(a.path('c/log.txt'), 'a', encoding='ascii') as log:
        log.write('b' * 4096)
    a.wait()
    gate.tells()
    os.write(fd, b'c' * 8192)
    os.close(fd)
    assert b.text('c/log.txt') == 'a' * 4096 + 'b' * 4096 + 'c' * 8192
    b.wait()
    assert a.text('c/log.txt') == b.text('c/log.txt')


@pytest.fixture
def replaced(gated):
    """Another file and another directory have taken the place of those that the second device's kernel knows."""
    a, b, gate = gated
    a.write('c/d/f', 'old')
    a.wait()
    assert b.text('c/r.txt') == 'old' and b.names('c/d') == ['f']
    fds = [os.open(b.path(name), os.O_RDONLY) for name in ('c/r.txt', 'c/d')]  # so that the kernel keeps them
    with gate.held('notify 0'):
        for name in 'r.txt', 'd':
            os.rename(a.path(f'c/{name}'), a.path(f'c/moved.{name}'))
        a.wait()
        a.write('c/r.txt', 'another')
        os.mkdir(a.path('c/d'))
        a.wait()
        gate.waits()
        yield a, b
    for fd in fds:
        os.close(fd)


def same(a, b):
    eventually(lambda: a.status()['pending'] == b.status()['pending'] == 0 and a.tree() == b.tree(), 20,
               'both devices show the same')


def test_rename_of_what_the_kernel_does_not_know_yet(replaced, gated):
    a, b = replaced
    os.rename(b.path('c/r.txt'), b.path('c/mine.txt'))
    assert b.text('c/mine.txt') == 'another' and not b.exists('c/r.txt')
    gated[2].clear()
    assert b.text('c/moved.r.txt') == 'old'
    same(a, b)


def test_removal_of_what_the_kernel_does_not_know_yet(replaced, gated):
    a, b = replaced
    os.unlink(b.path('c/r.txt'))
    os.rmdir(b.path('c/d'))
    gated[2].clear()
    assert b.names('c/moved.d') == ['f'] and os.stat(b.path('c/moved.r.txt')).st_nlink == 1
    b.write('c/moved.d/g', 'x')
    same(a, b)


def test_rename_over_a_directory_that_another_device_just_moved(gated):
    a, b, gate = gated
    for path in 'c/d/f', 'c/mine/g':
        a.write(path, 'x')
    a.wait()
    assert b.names('c/d') == ['f'] and b.names('c/mine') == ['g']
    fd = os.open(b.path('c/d'), os.O_RDONLY)  # so that the kernel keeps it
    with gate.held(f'reply {gate.LOOKUP}'):
        rename = Doing(os.rename, b.path('c/mine'), b.path('c/d'))
        gate.waits()
        os.rename(a.path('c/d'), a.path('c/moved'))
        a.wait()
    rename.done()
    assert b.names('c/moved') == ['f'] == os.listdir(fd) and b.names('c/d') == ['g']
    os.close(fd)
    same(a, b)
