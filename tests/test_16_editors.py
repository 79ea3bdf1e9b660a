"""Editors in a terminal: what they have open is left alone until another device changes it."""
import os

import pytest

from blazetest.saves import JSON
from blazetest.terminal import Terminal
from blazetest.wait import eventually

VIM = ['vim', '-N', '-u', 'NONE', '-i', 'NONE', '-c', 'set backupskip= shortmess=', 'dir/r.json']


@pytest.fixture
def devices(pair):
    """Two devices with one record; the environment of an editor on the first."""
    a, b = pair.nodes
    a.write('dir/r.json', JSON)
    pair.synced()
    return a, b


def stamp(node):
    st = os.stat(node.path('dir/r.json'))
    return st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns


@pytest.mark.parametrize('options', ['backupcopy=auto', 'backupcopy=yes', 'backupcopy=no', 'backup', 'undofile'])
def test_vim_saves_twice(devices, options):
    a, b = devices
    identity, changes = a.xattr('dir/r.json', 'blaze.id'), a.status()['changes']
    with Terminal([*VIM, '-c', f'set {options}'], a.mnt, a.env) as vim:
        vim.expect('Crash')
        assert '.r.json.swp' in a.names('dir')
        for old, new in (('open', 'done'), ('done', 'gone')):
            vim.type(f':%s/{old}/{new}/ | w\r').expect('written')
            saved = stamp(a)
            a.wait()
            assert stamp(a) == saved and b.text('dir/r.json') == JSON.replace('open', new)
            assert b.names('dir') == ['r.json']
        vim.type(':q\r')
        assert vim.ended() == 0 and b'changed' not in vim.shown
    a.wait()
    assert not [n for n in a.names('dir') if n.endswith('.swp')] and b.names('dir') == ['r.json']
    assert a.xattr('dir/r.json', 'blaze.id') == identity and a.status()['changes'] == changes + 2


def test_vim_is_warned_of_a_remote_change_and_only_then(devices):
    a, b = devices
    with Terminal(VIM, a.mnt, a.env) as vim:
        vim.expect('Crash')
        vim.type(':checktime | echo "same" . "ness"\r').expect('sameness')
        assert b'W1' not in vim.shown
        b.write('dir/r.json', JSON.replace('2', '3'))
        b.wait()
        vim.type(':checktime\r').expect('W11')
        vim.type('L').expect('60 bytes')
        vim.type('\r').expect('"priority": 3')
        vim.type(':%s/open/done/ | wq\r')
        assert vim.ended() == 0
    a.wait()
    assert a.text('dir/r.json') == b.text('dir/r.json') == JSON.replace('2', '3').replace('open', 'done')


@pytest.mark.parametrize('options', ['', '-B', '-G', '-N'])
def test_nano_saves_twice(devices, options):
    a, b = devices
    identity, changes = a.xattr('dir/r.json', 'blaze.id'), a.status()['changes']
    with Terminal(['nano', '-I', *options.split(), 'dir/r.json'], a.mnt, a.env) as nano:
        nano.expect('Crash')
        for count in (1, 2):
            nano.type(' ').expect('Modified')
            nano.type('\x13').expect('Wrote 1 line')
            saved = stamp(a)
            a.wait()
            assert stamp(a) == saved and b.text('dir/r.json') == ' ' * count + JSON
            assert b.names('dir') == ['r.json']
        nano.type('\x18')
        assert nano.ended() == 0
    a.wait()
    assert a.names('dir') == ['r.json', 'r.json~'][:1 + (options == '-B')] and b.names('dir') == ['r.json']
    assert a.xattr('dir/r.json', 'blaze.id') == identity and a.status()['changes'] == changes + 2


def test_nano_asks_after_a_remote_change(devices):
    a, b = devices
    os.utime(a.path('dir/r.json'), (1, 1))  # nano looks at seconds
    with Terminal(['nano', '-I', 'dir/r.json'], a.mnt, a.env) as nano:
        nano.expect('Crash')
        b.write('dir/r.json', JSON.replace('2', '3'))
        b.wait()
        nano.type(' ').expect('Modified')
        nano.type('\x13').expect('File on disk has changed')


@pytest.mark.parametrize('settings', ['make-backup-files nil', 'make-backup-files t',
                                      'make-backup-files t backup-by-copying t', 'file-precious-flag t'])
def test_emacs_saves_twice(devices, settings):
    a, b = devices
    identity, changes = a.xattr('dir/r.json', 'blaze.id'), a.status()['changes']
    enable = f'(setq backup-enable-predicate (lambda (_) t) {settings})'
    with Terminal(['emacs', '-nw', '-Q', '--eval', enable, 'dir/r.json'], a.mnt, a.env) as emacs:
        emacs.expect('Crash')
        for count in (1, 2):
            emacs.type(' ').expect('**')
            eventually(lambda: '.#r.json' in a.names('dir'))
            emacs.type('\x18\x13').expect('Wrote')
            emacs.type('\x18=').expect('Char:')  # "Wrote" comes before the rename and chmod
            saved = stamp(a)
            a.wait()
            assert stamp(a) == saved and b.text('dir/r.json') == ' ' * count + JSON
            assert b.names('dir') == ['r.json']
        emacs.type('\x18\x03')
        assert emacs.ended() == 0
    a.wait()
    assert a.names('dir') == ['r.json', 'r.json~'][:1 + ('-files t' in settings)] or 'precious' in settings
    assert a.xattr('dir/r.json', 'blaze.id') == identity and a.status()['changes'] == changes + 2


def test_emacs_asks_after_a_remote_change(devices):
    a, b = devices
    with Terminal(['emacs', '-nw', '-Q', 'dir/r.json'], a.mnt, a.env) as emacs:
        emacs.expect('Crash')
        b.write('dir/r.json', JSON.replace('2', '3'))
        b.wait()
        emacs.type(' ').expect('changed on disk')
