"""What lost a conflict is shown: on every device, byte for byte, until somebody settles it."""
import json
import os
import re
import stat

import pytest

from blazetest.wait import eventually

RECORD = '{\n  "title": "Crash",\n  "status": "open",\n  "priority": 2\n}\n'
LOST = '.blaze/conflicts'


def loser_of(path, a, b, versions):
    """(device, bytes) of the save that is not shown; both devices show the same one."""
    shown = a.read(path)
    assert shown == b.read(path) and shown in versions
    at = 1 - versions.index(shown)
    return f'device-{(a, b)[at].name}', versions[at]


def test_nothing_lost_is_an_empty_directory(node):
    node.write('a.txt', 'x')
    assert node.names(LOST) == [] and node.path(LOST).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize('versions', [(b'from a\n', b'from b\n'), (b'\0\xff' * 70000, b''), (b'', b'no newline')])
def test_losing_text_is_shown_on_both_devices(pair, versions):
    a, b = pair.edit_apart('notes/t.txt', 'base\n', *versions)
    device, lost = loser_of('notes/t.txt', a, b, versions)
    for node in (a, b):
        assert node.names(LOST) == ['notes'] and node.names(f'{LOST}/notes') == [f't.txt@{device}']
        path = node.path(f'{LOST}/notes/t.txt@{device}')
        assert node.path(f'{LOST}/notes').stat().st_mode == stat.S_IFDIR | 0o700
        assert path.read_bytes() == lost
        assert path.stat().st_size == len(lost) and path.stat().st_mode & 0o777 == 0o400


def test_losing_field_is_named_on_both_devices(pair):
    a, b = pair.edit_apart('r.json', RECORD, RECORD.replace('2', '3'), RECORD.replace('2', '4'))
    shown = json.loads(a.text('r.json'))['priority']
    lost, device = {3: (4, 'device-b'), 4: (3, 'device-a')}[shown]
    for node in (a, b):
        assert node.names(LOST) == ['r.json@fields']
        line = node.text(f'{LOST}/r.json@fields')
        assert re.fullmatch(rf'priority  {lost}  {device}  \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n', line), line
        assert node.path(f'{LOST}/r.json@fields').stat().st_size == len(line)


def test_save_that_changes_the_value_settles_it(pair):
    a, b = pair.edit_apart('r.json', RECORD, RECORD.replace('2', '3'), RECORD.replace('2', '4'))
    b.write('r.json', a.text('r.json').replace('3', '9').replace('4', '9'))
    pair.synced()
    for node in (a, b):
        eventually(lambda n=node: n.names(LOST) == [])


def test_copying_the_loser_back_makes_it_the_value(pair):
    a, b = pair.edit_apart('t.txt', 'base\n', 'from a\n', 'from b\n')
    before = a.text('t.txt')
    a.sh(f'cp {LOST}/t.txt@* t.txt')
    pair.synced()
    assert {before, b.text('t.txt')} == {'from a\n', 'from b\n'} and a.text('t.txt') == b.text('t.txt')
    for node in (a, b):
        eventually(lambda n=node: n.names(LOST) == [])


def test_open_loser_keeps_its_bytes(pair):
    a, b = pair.edit_apart('t.txt', 'base\n', b'from a\n', b'from b\n')
    device, lost = loser_of('t.txt', a, b, (b'from a\n', b'from b\n'))
    with open(a.path(f'{LOST}/t.txt@{device}'), 'rb') as f:
        a.write('t.txt', 'settled\n')
        eventually(lambda: a.names(LOST) == [])
        assert f.read() == lost
    assert not a.exists(f'{LOST}/t.txt@{device}')


def test_losers_cannot_be_written_or_moved_elsewhere(pair):
    a, _ = pair.edit_apart('t.txt', 'base\n', 'from a\n', 'from b\n')
    (name,) = a.names(LOST)
    for act in (lambda p: open(p, 'w', encoding='utf-8'), lambda p: os.rename(p, a.path('stolen'))):
        with pytest.raises(OSError):
            act(a.path(f'{LOST}/{name}'))
    assert a.names(LOST) == [name]


def test_losers_survive_a_restart(pair):
    _, b = pair.edit_apart('t.txt', 'base\n', 'from a\n', 'from b\n')
    before = {name: b.read(f'{LOST}/{name}') for name in b.names(LOST)}
    b.remount()
    assert len(before) == 1 and {name: b.read(f'{LOST}/{name}') for name in b.names(LOST)} == before


def test_losers_are_found_where_their_records_are(pair):
    """A mirror of the tree: only ways to what lost, and rm and mv work in them."""
    paths = ['top.txt', 'c/a.txt', 'c/d/e/b.txt', 'c/d/e/.hidden', 'c/quiet.txt']
    a, b = pair.nodes
    for path in paths:
        a.write(path, 'base\n')
    pair.synced()
    pair.cut()
    for node in (a, b):
        for path in paths[:-1]:
            node.write(path, f'{node.name * 30} of {path}\n')
    pair.restore()
    pair.synced()
    for node in (a, b):
        found = {os.path.relpath(os.path.join(d, f), node.path(LOST)).rpartition('@')[0]
                 for d, _, files in os.walk(node.path(LOST)) for f in files}
        assert found == set(paths[:-1]), found
        assert node.names(LOST)[0] == 'c' and node.names(f'{LOST}/c')[1] == 'd'
        with pytest.raises(FileNotFoundError):
            os.stat(node.path(f'{LOST}/c/nothing'))
    (lost,) = [n for n in a.names(f'{LOST}/c/d/e') if n.startswith('b.txt@')]
    other = a.text(f'{LOST}/c/d/e/{lost}')
    a.path(f'{LOST}/c/d/e/{lost}').rename(a.path('c/d/e/b.txt'))
    a.sh(f'rm {LOST}/c/d/e/.hidden@* {LOST}/c/a.txt@*')
    pair.synced()
    assert b.text('c/d/e/b.txt') == other
    for node in (a, b):
        eventually(lambda n=node: len(n.names(LOST)) == 1 and n.names(LOST)[0].startswith('top.txt@'))
