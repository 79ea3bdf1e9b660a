"""Temporary and private names never leave the device, and are ordinary files on it."""
import os

import pytest

NAMES = ['.a.json.swp', '.a.json.swo', 'a.json~', '4913', '.#a.json', '#a.json#', 'a.tmp',
         '.goutputstream-ABC123', '.DS_Store', '._a.json', '.~lock.a.odt#', 'a.db-journal', 'a.db-wal',
         '.git/config', 'a.part']


@pytest.mark.parametrize('name', NAMES)
def test_local_name_never_reaches_the_other_device(pair, name):
    a, b = pair.nodes
    a.write(f'dir/{name}', 'private')
    a.write('dir/marker', 'shared')
    a.wait()
    assert b.names('dir') == ['marker']
    assert a.text(f'dir/{name}') == 'private'


def test_local_files_survive_a_remount(node):
    for name in NAMES:
        node.write(f'dir/{name}', name * 1000)
    before = node.tree()
    assert node.remount().tree() == before


def test_local_file_is_no_change(node):
    before = node.status()['changes']
    node.write('.a.swp', 'x')
    os.unlink(node.path('.a.swp'))
    assert node.status()['changes'] == before


def test_local_name_renamed_to_a_record_name_becomes_one(pair):
    a, b = pair.nodes
    a.write('a.tmp', '{"n":1}').rename(a.path('a.json'))
    a.wait()
    assert b.names() == ['a.json'] and b.text('a.json') == '{"n":1}'


def test_record_renamed_to_a_local_name_leaves_the_other_device(pair):
    a, b = pair.nodes
    a.write('keep', 'x')
    path = a.write('a.json', '{"n":1}')
    pair.synced()
    path.rename(a.path('a.json~'))
    a.wait()
    assert b.names() == ['keep'] and a.text('a.json~') == '{"n":1}'


def test_same_local_name_differs_on_two_devices(pair):
    a, b = pair.nodes
    a.write('.x.swp', 'mine')
    b.write('.x.swp', 'yours')
    a.wait()
    b.wait()
    assert (a.text('.x.swp'), b.text('.x.swp')) == ('mine', 'yours')
