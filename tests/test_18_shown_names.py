"""A record shown under another name than its own, told apart from a sibling or escaped, is not renamed by a save."""
import os

import pytest

from blazetest.place import Place
from blazetest.saves import JSON, SAVES
from blazetest.wait import eventually

SOME = ['vim', 'vim backupcopy=yes', 'emacs backup', 'sed -i', 'cp', 'tar x', 'redirection', 'python os.replace',
        'rsync', 'exchange']



@pytest.fixture
def twins(pair):
    """Two records that want the same name, on two devices: the name that tells one of them apart."""
    a, b = pair.nodes
    a.write('w/x.json', JSON)
    pair.synced()
    pair.cut()
    a.path('w/x.json').rename(a.path('w/r.json'))
    b.write('w/r.json', JSON.replace('2', '3'))
    eventually(lambda: a.status()['held'] == b.status()['held'] == 0)
    pair.restore()
    pair.synced()
    return next(name for name in a.names('w') if name != 'r.json')


@pytest.mark.parametrize('how', SOME)
def test_save_of_a_record_told_apart_does_not_rename_it(pair, directory, twins, how):
    a, b = pair.nodes
    path = f'w/{twins}'
    identity, before = a.xattr(path, 'blaze.id'), a.log(path)
    assert Place(a.mnt, directory / 'tools-home').sh(SAVES[how].script, path)[0] == 0
    eventually(lambda: a.status()['held'] == 0)
    a.wait()
    assert a.xattr(path, 'blaze.id') == identity and 'done' in b.text(path)
    assert a.log(path)[:-1] == before and 'renamed' not in a.log(path)[-1]['summary']
    os.unlink(a.path('w/r.json'))
    eventually(lambda: b.names('w') == ['r.json'] and b.xattr('w/r.json', 'blaze.id') == identity)


def test_rename_to_the_name_it_is_shown_by_is_a_rename(pair, twins):
    a, b = pair.nodes
    identity = a.xattr(f'w/{twins}', 'blaze.id')
    a.sh(f'mv w/{twins} w/other.json; mv w/other.json w/{twins}')
    a.path('w/r.json').unlink()
    pair.synced()
    assert b.names('w') == [twins] and b.xattr(f'w/{twins}', 'blaze.id') == identity


@pytest.mark.parametrize('how', SOME)
def test_save_of_a_record_with_an_escaped_name_does_not_rename_it(pair, directory, how):
    a, b = pair.nodes
    a.write('w/a\nb.json', JSON)
    pair.synced()
    path = f'w/{b.names("w")[0]}'
    identity, before = b.xattr(path, 'blaze.id'), b.log(path)
    assert Place(b.mnt, directory / 'tools-home').sh(SAVES[how].script, path)[0] == 0
    eventually(lambda: b.status()['held'] == 0)
    b.wait()
    assert b.xattr(path, 'blaze.id') == identity and 'done' in a.text('w/a\nb.json')
    assert b.log(path)[:-1] == before and 'renamed' not in b.log(path)[-1]['summary']
