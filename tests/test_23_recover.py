"""Recovery words: shown once, on a terminal only; whoever has them gets in."""
import re

import pytest

from blazetest import Node
from blazetest.node import BIN
from blazetest.terminal import Terminal


@pytest.fixture
def guest(directory):
    made = Node(directory, 'guest')
    yield made
    made.discard()


def on_terminal(node, *args):
    return Terminal([BIN, *args], node.directory, node.env)


def words_in(shown):
    return ' '.join(re.findall(r'\d+ ([a-z]{3,8})', shown.split('once only:')[1]))


@pytest.fixture
def hub(node):
    """A device that listens, and its words."""
    with on_terminal(node, 'recover', '--show') as t:
        assert t.ended() == 0
        node.words = words_in(t.text())
    assert len(node.words.split()) == 14
    node.remount(listen='127.0.0.1:0')
    return node


def recover(guest, hub, words):
    with on_terminal(guest, 'recover', '--name', 'new', hub.listen) as t:
        t.expect('words').type(words + '\n')
        shown = t.expect('[y/N]').text()
        t.type('y\n')
        return t.ended(30), shown + t.text()


def test_words_are_shown_once_and_not_left_behind(hub):
    with on_terminal(hub, 'recover', '--show') as t:
        assert t.ended() == 1 and 'were shown' in t.text()
    assert not (hub.home / 'account.words').exists()
    assert not any(hub.words in f.read_text(errors='replace') for f in hub.home.rglob('*') if f.is_file())


def test_init_on_a_terminal_shows_them(guest):
    with on_terminal(guest, 'init', '--name', 'x', 'mine') as t:
        assert t.ended() == 0
        assert len(words_in(t.text()).split()) == 14
    assert not (guest.home / 'account.words').exists()


def test_without_a_terminal_nothing_is_shown_or_asked(hub, guest):
    for args in (['recover', '--show'], ['recover', hub.listen]):
        assert 'terminal only' in guest.run(*args, code=2).stderr


def test_words_let_a_new_device_in(hub, guest):
    hub.write('a.json', '{"n":1}')
    code, said = recover(guest, hub, hub.words.upper())
    assert code == 0, said
    assert hub.words.upper() not in said, 'what is typed is shown'
    guest.mount()
    assert guest.text('a.json') == '{"n":1}'
    assert [p['name'] for p in hub.status()['peers']] == ['new']
    guest.close()


def changed(words, index, word):
    parts = words.split()
    parts[index] = word if parts[index] != word else 'acorn'
    return ' '.join(parts)


@pytest.mark.parametrize('spoil, why', [
    (lambda w: w.rsplit(' ', 1)[0], '14 words'), (lambda w: w + ' walnut', '14 words'),
    (lambda w: changed(w, 0, 'walnut'), 'do not belong together'),
    (lambda w: changed(w, 5, 'xyzzy'), 'none of the list'), (lambda w: '', '14 words')])
def test_wrong_words_are_told_before_anybody_is_asked(hub, guest, spoil, why):
    with on_terminal(guest, 'recover', hub.listen) as t:
        t.expect('words').type(spoil(hub.words) + '\n')
        assert t.ended() == 13 and why in t.text()
    assert not list(guest.home.glob('*/format')) and hub.status()['peers'] == []


def test_words_of_another_account_are_refused(hub, guest, directory):
    other = Node(directory, 'other')
    with on_terminal(other, 'init', 'theirs') as t:
        assert t.ended() == 0
        words = words_in(t.text())
    with on_terminal(guest, 'recover', hub.listen) as t:
        t.expect('words').type(words + '\n')
        assert t.ended() == 13 and 'no database of the account' in t.text()
    assert hub.status()['peers'] == []
    other.discard()
