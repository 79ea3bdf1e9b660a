"""Requests that wait for the disk, and many at once."""
import os
import subprocess
import sys

import pytest

from blazetest.wait import SCALE, eventually, in_fuse

MIB = 1 << 20


@pytest.fixture
def slow_disk(disk):
    """(device, switch): between switch(True) and switch(False) its disk takes no large content."""
    node, fault = disk
    return node, fault.switch('pwrite 0 /files/')


def writer(path, size):
    code = (f'import os; fd = os.open({str(path)!r}, os.O_RDWR); os.write(1, b"open")\n'
            f'os.pwrite(fd, b"y" * {size}, 0); os._exit(77)')
    process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE)
    assert process.stdout.read(4) == b'open'
    return process


@pytest.mark.root
@pytest.mark.parametrize('size', [100, MIB // 2])
@pytest.mark.parametrize('writers', [1, 3])
def test_a_request_that_waits_holds_up_no_other(slow_disk, size, writers):
    node, switch = slow_disk
    for n in range(writers):
        node.write(f'{n}.tmp', 'x' * MIB)
    switch(True)
    waiting = [writer(node.path(f'{n}.tmp'), size) for n in range(writers)]
    for process in waiting:
        eventually(lambda pid=process.pid: in_fuse(pid), 20, 'it writes')
    for n in range(20):
        node.write(f'{n}.json', '{}')
        assert node.text(f'{n}.json') == '{}'
    assert all(process.poll() is None for process in waiting)
    switch(False)
    assert [process.wait(20 * SCALE) for process in waiting] == [77] * writers
    for n in range(writers):
        with open(node.path(f'{n}.tmp'), 'rb') as file:
            assert os.pread(file.fileno(), size, 0) == b'y' * size


def test_thousands_of_requests_from_many_programs(node):
    code = ('import os, sys\nd, n = sys.argv[1:]\n'
            'for i in range(300):\n'
            '    p = f"{d}/{n}-{i % 20}.json"\n'
            '    open(p, "w").write("{}"); assert open(p).read() == "{}"; os.stat(p); os.listdir(d)\n')
    node.path('shared').mkdir()
    programs = [subprocess.Popen([sys.executable, '-c', code, str(node.path('shared')), str(n)]) for n in range(8)]
    assert [p.wait(60 * SCALE) for p in programs] == [0] * 8
    assert len(node.names('shared')) == 160
