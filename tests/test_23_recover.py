"""Recovery words: shown once, on a terminal only; whoever has them gets in."""
import re

import pytest

from blazetest import Node
from blazetest.node import BIN
from blazetest.cluster import Invitation, is_connected
from blazetest.proxy import Proxy
from blazetest.stranger import replay
from blazetest.terminal import Terminal
from blazetest.wait import eventually


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


def test_who_fails_again_and_again_to_recover_has_to_wait(hub, guest, directory):
    """LIMITS: what somebody recorded does not help him; he is told to wait, even with the words. Members are not concerned."""
    proxy, target = Proxy(hub.listen), hub.listen
    try:
        proxy.record()
        hub.listen = proxy.address
        assert recover_some(guest, hub, answer='n')[0] == 13
        recorded = bytes(proxy.up)
    finally:
        hub.listen = target
        proxy.close()
    assert [replay(hub, recorded) for _ in range(11)] == [0] * 10 + [7]
    hub.allow('.*10 handshakes with recovery words from 127.0.0.1 have failed.*')
    assert '10 handshakes with recovery words from 127.0.0.1 have failed' in hub._log.read_text()
    with on_terminal(guest, 'recover', hub.listen) as t:
        t.expect('words').type(hub.words + '\n')
        assert t.ended() == 13 and 'try again in a minute' in t.text()
    with Invitation(hub, hub.database) as invitation:
        guest.run('pair', invitation.link)
        invitation.accepted()
    assert hub.status()['peers'] != []


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


def take_back(node, whom, act, words):
    """Removes a device with the words, and takes back what it did from that act on (None: nothing)."""
    with on_terminal(node, 'devices', 'remove', whom, '--words', node.database) as t:
        shown = t.expect('all of it counts]').text()
        number = re.search(r'(\d+)  ' + act, shown)[1] if act else ''
        t.type(number + '\n').expect('recovery words').type(words + '\n')
        return t.ended(30), t.text()


def members(node):
    return {d['name']: d for d in node.json('devices', node.database, code=None)['devices']}


@pytest.fixture
def three(hub, guest):
    """A device with three databases of one account at one port, each with a record that tells it."""
    nodes = [hub]
    try:
        for name in ('mail', 'notes'):
            nodes.append(hub.beside(name))
            nodes[-1].run('init', name)
            nodes[-1].mount(listen='127.0.0.1:0')
            assert nodes[-1].listen == hub.listen
        for node in nodes:
            node.write(f'{node.database}.json', '{}')
        yield nodes
        for node in nodes[1:]:
            node.close()
    finally:
        for node in nodes[1:]:
            node.discard()


def have(guest):
    return sorted(f.parent.name for f in guest.home.glob('*/format'))


def recover_some(guest, hub, *names, answer='y'):
    with on_terminal(guest, 'recover', '--name', 'new', hub.listen, *names) as t:
        t.expect('words').type(hub.words + '\n')
        shown = t.expect('[y/N]').text()
        t.type(answer + '\n')
        return t.ended(60), shown, t.text()


def test_all_databases_at_a_port_are_recovered(three, guest):
    code, shown, said = recover_some(guest, three[0])
    assert code == 0, said
    assert 'device-a at 127.0.0.1' in shown and 'has 3 databases of this account' in shown
    assert 'join "mail", "notes" and "work"?' in shown and have(guest) == ['mail', 'notes', 'work']
    for node in three:
        there = guest.beside(node.database)
        try:
            there.mount()
            assert there.names() == [f'{node.database}.json']
            there.close()
        finally:
            there.discard()


def test_those_that_are_named_are_recovered(three, guest):
    code, shown, said = recover_some(guest, three[0], 'notes', 'work')
    assert code == 0 and have(guest) == ['notes', 'work'], said
    assert re.search('mail +not asked for', shown)
    assert three[1].status()['peers'] == []
    code, shown, said = recover_some(guest, three[0])
    assert code == 0 and have(guest) == ['mail', 'notes', 'work'], said
    assert len(re.findall('on this device already', shown)) == 2 and 'join "mail"?' in shown


def test_who_says_no_joins_none(three, guest):
    code, _, said = recover_some(guest, three[0], answer='n')
    assert code == 13 and 'nothing was kept' in said and have(guest) == []
    assert all(node.status()['peers'] == [] for node in three)


def test_name_that_is_not_there_joins_none(three, guest):
    with on_terminal(guest, 'recover', three[0].listen, 'mail', 'nots') as t:
        t.expect('words').type(three[0].words + '\n')
        assert t.ended(30) == 13 and 'no database "nots"' in t.text() and have(guest) == []


def test_those_of_other_accounts_at_the_port_are_not_listed(three, guest):
    """The account is the home's: one that came by pairing with somebody else is that person's."""
    other = Node(three[0].directory, 'other').init()
    mine = three[0].beside('theirs')
    try:
        other.database = 'theirs'
        other.run('init', 'theirs')
        other.mount(listen='127.0.0.1:0')
        with Invitation(other, 'theirs') as invitation:
            mine.run('pair', invitation.link)
            invitation.accepted()
        mine.mount(listen='127.0.0.1:0')
        code, shown, said = recover_some(guest, three[0])
        assert code == 0 and 'theirs' not in shown and have(guest) == ['mail', 'notes', 'work'], said
        mine.close()
        other.close()
    finally:
        mine.discard()
        other.discard()


def test_words_remove_a_stolen_founder_that_has_removed_this_device(pair):
    a, b = pair.nodes
    words = (a.home / 'account.words').read_text().strip()
    b.write('mine.json', '{"n":1}')
    pair.synced()
    a.run('devices', 'remove', 'device-b', a.database)
    eventually(lambda: members(b)['device-b']['removed'], 10, 'it heard that it is out')
    code, said = take_back(b, 'device-a', 'removed device-b', words)
    assert code == 0 and 'by the account' in said and words not in said
    known = members(b)
    assert known['device-a']['removed'] and not known['device-b']['removed']
    b.write('mine.json', '{"n":2}')
    a.write('theft.json', '{}')
    assert not is_connected(b) and not b.exists('theft.json') and a.text('mine.json') == '{"n":1}'
    b.remount()
    known = members(b)
    assert known['device-a']['removed'] and not known['device-b']['removed'] and b.text('mine.json') == '{"n":2}'


def test_words_of_another_account_remove_nobody(pair, directory):
    _, b = pair.nodes
    other = Node(directory, 'other').init()
    words = (other.home / 'account.words').read_text().strip()
    code, said = take_back(b, 'device-a', None, words)
    assert code == 13 and 'another account' in said
    assert not any(d['removed'] for d in members(b).values())
    other.discard()


def test_words_for_a_removal_are_asked_for_on_a_terminal_only(pair):
    _, b = pair.nodes
    assert 'terminal only' in b.run('devices', 'remove', 'device-a', '--words', b.database, code=2).stderr


@pytest.mark.parametrize('answer', ['x', '-1', '0', '1 2'])
def test_act_that_is_no_number_changes_nothing(pair, answer):
    _, b = pair.nodes
    with on_terminal(b, 'devices', 'remove', '--words', 'device-a', b.database) as t:
        t.expect('all of it counts]').type(answer + '\n')
        assert t.ended() == 2 and 'no number' in t.text()
    assert not any(d['removed'] for d in members(b).values())
