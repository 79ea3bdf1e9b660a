"""
Random renames, saves, links and deletions on three devices, cut off and killed now and then: the same files in the
end.
"""
import errno
import os
import random
import stat

import pytest

from blazetest import Cluster
from blazetest.wait import eventually
from blazetest.work import change

NAMES = ['a', 'b.json', 'd', 'e.txt', 't.tmp', 'x.bak']  # t.tmp stays on its device, x.bak waits a moment
ROUNDS, OPERATIONS = 4, 50


@pytest.fixture
def trio(directory):
    cluster = Cluster(directory, 3)
    yield cluster
    cluster.discard()


def shared_files(node):
    """What travels: files and links; a directory may be left for what is local in it."""
    def is_local(path):
        return any('.tmp' in part for part in path.split('/'))
    return {path: what for path, what in node.tree().items() if what != 'directory' and not is_local(path)}


def miscounted(node):
    """Files whose link count is not the number of their names."""
    names = {}
    for folder, folders, files in os.walk(node.mnt):
        for path in (os.path.join(folder, name) for name in folders + files):
            st = os.lstat(path)
            if not stat.S_ISDIR(st.st_mode):
                names.setdefault((st.st_ino, st.st_nlink), []).append(path)
    return {ino: found for (ino, count), found in names.items() if count != len(found)}


@pytest.mark.parametrize('seed', range(1, int(os.environ.get('BLAZE_RANDOM_SEEDS', '4')) + 1))
def test_three_devices_end_with_the_same_files(trio, seed):
    r = random.Random(seed)
    for _ in range(ROUNDS):
        if r.random() < 0.7:
            trio.cut()
        for _ in range(OPERATIONS):
            try:
                change(r.choice(trio.nodes).mnt, r, NAMES, 'wwwwwmmmmudrlhhhxxcsss')
            except OSError as e:
                assert e.errno not in (errno.EIO, errno.ENOTCONN), f'{e}'
        if r.random() < 0.3:
            r.choice(trio.nodes[1:]).kill9().mount()
        trio.restore()
        for node in trio.nodes:
            node.wait('20s')
        eventually(lambda: shared_files(trio.nodes[0]) == shared_files(trio.nodes[1]) == shared_files(trio.nodes[2]),
                   20, 'three devices show the same files')
        for node in trio.nodes:
            eventually(lambda n=node: not miscounted(n), 5, 'every name of a file is counted')
