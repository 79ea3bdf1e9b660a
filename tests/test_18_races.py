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
