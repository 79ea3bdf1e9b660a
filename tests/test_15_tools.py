"""Real tools save a record: the same record, one change, nothing else travels, and nobody can tell the mount."""
import os

import pytest

from blazetest.place import Place, Watch
from blazetest.saves import SAVES
from blazetest.wait import eventually


def stamp(node, path):
    st = os.stat(node.path(path))
    return st.st_ino, st.st_size, st.st_mtime_ns, st.st_mode, st.st_nlink


def prepare(places, save, path):
    for place in places:
        place.put(path, save.content)
        if save.before:
            code, output, _ = place.sh(save.before, path)
            assert code == 0, output
        place.put(path, save.content)


@pytest.mark.parametrize('how', SAVES)
def test_save_is_one_change_of_the_same_record(pair, places, how):
    (a, b), save, path = pair.nodes, SAVES[how], f'dir/{SAVES[how].name}'
    prepare(places, save, path)
    pair.nodes[0].wait()
    identity, changes, log = a.xattr(path, 'blaze.id'), a.status()['changes'], a.log(path)
    with Watch(b) as watch:
        mounted, plain = (place.sh(save.script, path) for place in places)
        saved = stamp(a, path)
        a.wait()
    assert plain[0] == 0 and mounted == plain, plain
    assert stamp(a, path) == saved and places[0].facts() == places[1].facts(), 'changed after the save'
    travels = {'dir', path, *(f'dir/{name}' for name in save.travels)}
    assert watch.seen <= travels and set(b.tree()) == travels
    assert [b.read(p) for p in sorted(travels - {'dir'})] == [a.read(p) for p in sorted(travels - {'dir'})]
    assert a.log(path)[:-1] == log and b.log(path) == a.log(path)
    assert a.xattr(path, 'blaze.id') == b.xattr(path, 'blaze.id') == identity
    assert a.status()['changes'] == changes + 1 + len(save.travels)


@pytest.mark.parametrize('how', [how for how in SAVES if SAVES[how].again])
def test_saving_the_same_bytes_again_is_no_change(node, directory, how):
    save, path = SAVES[how], f'dir/{SAVES[how].name}'
    place = Place(node.mnt, directory / 'mount-home')
    prepare([place], save, path)
    for _ in range(2):
        log = node.log(path)
        code, output, found = place.sh(save.script, path)
        assert code == 0, (output, found)
        eventually(lambda: node.status()['held'] == 0)
    assert node.log(path) == log
