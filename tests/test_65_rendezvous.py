"""Pairing by a code when only a relay can be reached by both devices; and with relays that lie."""
import contextlib
import re
import socket

import pytest

from blazetest import Node, stranger
from blazetest.cluster import CODE, Invitation
from blazetest.middle import Middle
from blazetest.namespace import Cables, inside
from blazetest.node import BIN
from blazetest.relay import Relay, relays_of, wait_idle
from blazetest.terminal import Terminal
from blazetest.wait import SCALE, eventually

UNKNOWN, LATER = 1, 7  # statuses of net/hello.h


@contextlib.contextmanager
def running(relay):
    try:
        yield relay.start()
        relay.stop()
    finally:
        relay.kill9()


@pytest.fixture
def relay(directory):
    with running(Relay(directory)) as r:
        yield r


def make(directory, name, netns=None):
    """A device that finds nobody on its machine: it looks in a directory of its own."""
    made = Node(directory, name, netns=netns)
    made.env['XDG_RUNTIME_DIR'] = str(made.directory)
    return made


def invite_at(node, *relays):
    node.init()
    node.mount(listen='127.0.0.1:0')
    for r in relays:
        node.run('relay', 'add', r.address, node.database)
    wait_idle(node, count=len(relays))
    return node


@pytest.fixture
def desk(directory, relay):
    made = invite_at(make(directory, 'desk'), relay)
    yield made
    made.close()


@pytest.fixture
def phone(directory):
    made = make(directory, 'phone')
    yield made
    made.close()


def at(code, address):
    return f'{code.split("@")[0]}@{address}'


def refused(guest, invitation, *args, code=13):
    done = guest.run('pair', *args, invitation, code=code)
    assert done.stderr.startswith('blaze: ') and done.stderr.count('\n') == 1, done.stderr
    assert not list(guest.home.glob('*/format')), 'a database was left behind'
    return done.stderr


def four_words(text):
    return re.search(r'show: +(\w+ · \w+ · \w+ · \w+)', text)[1]


def paired(desk, phone, used, invitation):
    told = phone.run('pair', '--name', 'phone', used).stdout
    invitation.accepted()
    assert four_words(told) == four_words(invitation.output)
    assert 'Paired with' in invitation.output
    return told


def same_content(a, b):
    b.mount()
    eventually(lambda: a.tree() == b.tree(), 20)
    b.write('reply.txt', 'bread\n')
    eventually(lambda: a.exists('reply.txt') and a.text('reply.txt') == 'bread\n')


# ---- relays as they should be -----------------------------------------------------------------------


def test_a_code_and_the_relay_are_enough(desk, phone, relay):
    desk.write('todo.txt', 'milk\n')
    with Invitation(desk) as invitation:
        assert invitation.code.endswith('@' + relay.listen) and relay.listen in invitation.output
        told = paired(desk, phone, invitation.code, invitation)
    assert f'through the relay {relay.listen}' in told and 'done.' in told
    same_content(desk, phone)


@pytest.mark.root
@pytest.mark.parametrize('used,mounted', [('code', True), ('link', True), ('code', False)])
def test_devices_in_networks_that_only_the_relay_joins(directory, used, mounted):
    """Without a mount `blaze pair` is all there is: it ends when the relay has everything, and the phone needs no more."""
    with Cables(3, [(0, 1), (1, 2)]) as net:
        inside(net.pids[1], 'ip', 'address', 'add', '10.98.0.1/32', 'dev', 'lo')
        inside(net.pids[0], 'ip', 'route', 'add', '10.98.0.1', 'via', '10.99.1.2')
        inside(net.pids[2], 'ip', 'route', 'add', '10.98.0.1', 'via', '10.99.2.1')
        with running(Relay(directory, netns=net.pids[1], listen='10.98.0.1:0')) as relay:
            desk, phone = (make(directory, name, net.pids[n]) for name, n in (('desk', 0), ('phone', 2)))
            desk.init()
            desk.mount(listen='0.0.0.0:0')
            desk.run('relay', 'add', relay.address, desk.database)
            wait_idle(desk)
            desk.write('large.bin', bytes(range(256)) * 4096)
            want = desk.tree()
            if not mounted:
                desk.stop()
            with Invitation(desk) as invitation:
                assert 'done.' in paired(desk, phone, getattr(invitation, used), invitation)
                assert mounted or 'the relay has it all' in invitation.output
            phone.mount()
            assert phone.tree() == want
            phone.stop()
            if not mounted:
                desk.mount()
            same_content(desk, phone)
            peers = phone.status()['peers']
            assert all(p['path'] != 'direct' for p in peers) and '10.98.0.1' not in str(peers), 'the relay is no peer'
            phone.close()
            desk.close()


def test_a_link_names_the_relay_too(desk, phone, relay):
    with Invitation(desk) as invitation:
        start, addresses = invitation.link.rsplit('.', 4)[0], f'ws://{relay.listen}'
        assert invitation.link.endswith(',' + addresses)
        only = re.sub(r'(#v1\.[^.]+\.[^.]+\.\d+)\..*', r'\1.' + addresses, invitation.link)
        assert only.startswith(start[:20])
        paired(desk, phone, only, invitation)
    same_content(desk, phone)


def test_nobody_says_whether_the_relay_speaks_tls(directory, phone):
    with running(Relay(directory, setup=['--self-signed'])) as relay:
        desk = invite_at(make(directory, 'desk'), relay)
        with Invitation(desk) as invitation:
            assert '://' not in invitation.code
            paired(desk, phone, invitation.code, invitation)
        same_content(desk, phone)
        desk.close()
        phone.close()


def test_two_persons_compare_words(desk, phone):
    with Terminal([BIN, 'pair'], desk.directory, desk.env) as inviter:
        shown = inviter.expect('Waiting').text()
        joiner = phone.start('pair', '--name', 'phone', CODE.search(shown)[1])
        asked = inviter.expect('Trust phone').text()
        assert not desk.status()['peers'], 'it was not waited for the answer'
        inviter.type('y\n')
        said = joiner.communicate(timeout=20 * SCALE)[0]
        assert inviter.ended() == 0 and joiner.returncode == 0, said
    assert four_words(said) == four_words(asked)


def test_the_relay_is_restarted_while_a_code_waits(desk, phone, relay):
    with Invitation(desk) as invitation:
        relay.kill9()
        assert 'cannot reach the relay' in refused(phone, invitation.code, '--timeout', '5s', code=None)
        relay.start()
        eventually(lambda: relays_of(desk)[0]['state'] in ('syncing', 'synced'), 20)
        eventually(lambda: phone.run('pair', '--name', 'phone', invitation.code, code=None).returncode == 0)
        invitation.accepted()
    same_content(desk, phone)


def test_it_waits_at_all_relays(directory, desk, phone, relay):
    with running(Relay(directory, 'second')) as second:
        desk.run('relay', 'add', second.address, desk.database)
        wait_idle(desk, count=2)
        with Invitation(desk) as invitation:
            assert invitation.code.split('@')[1] in (relay.listen, second.listen)
            assert f'ws://{relay.listen},ws://{second.listen}' in invitation.link
            other = second if invitation.code.endswith(relay.listen) else relay
            paired(desk, phone, at(invitation.code, other.listen), invitation)
        same_content(desk, phone)
        assert len(relays_of(phone)) == 2
        desk.close()
        phone.close()


def test_of_two_relays_the_code_names_one_that_answers(directory, desk, phone, relay):
    with running(Relay(directory, 'second')) as second:
        desk.run('relay', 'add', second.address, desk.database)
        wait_idle(desk, count=2)
        relay.stop()
        eventually(lambda: any(r['state'] == 'away' for r in relays_of(desk)))
        with Invitation(desk) as invitation:
            assert invitation.code.endswith(second.listen)
            paired(desk, phone, invitation.code, invitation)
        relay.start()
        desk.close()
        phone.close()


def test_a_relay_that_is_away_is_said_to_be(desk, phone, relay):
    relay.stop()
    eventually(lambda: relays_of(desk)[0]['state'] == 'away')
    with Invitation(desk) as invitation:
        invitation.printed('Waiting')
        assert '@' not in invitation.code and f'{relay.shown} does not answer' in invitation.output
        phone.run('pair', '--at', desk.listen, invitation.code)
        invitation.accepted()


def test_a_folder_cannot_pass_a_code_on(node, phone, directory):
    (directory / 'dropbox').mkdir()
    node.run('relay', 'add', f'folder:{directory}/dropbox', node.database)
    with Invitation(node) as invitation:
        invitation.printed('Waiting')
        assert 'folder relay cannot pass a code on' in invitation.output and '@' not in invitation.code
    assert 'folder cannot pass' in refused(phone, at(invitation.code, f'folder:{directory}/dropbox'))


@pytest.mark.parametrize('address', ['', ':7710', 'a b', 'x:99999', 'x:', '[::1', 'ws://x', '-', 'x/y', 'x:0'])
def test_malformed_relay_of_a_code_is_refused(phone, address):
    refused(phone, f'482913-acorn-walnut@{address}', code=None)


def test_a_code_with_a_relay_is_found_on_the_machine_first(desk, phone, relay):
    phone.env['XDG_RUNTIME_DIR'] = desk.env['XDG_RUNTIME_DIR']
    with Invitation(desk) as invitation:
        relay.stop()
        assert f'at {desk.listen}' in phone.run('pair', invitation.code).stdout
        invitation.accepted()


# ---- one guess -------------------------------------------------------------------------------------


def other_words(code):
    number, first, rest = code.split('-', 2)
    return f'{number}-{"walnut" if first != "walnut" else "orbit"}-{rest}'


def test_a_wrong_code_is_void_for_everybody(desk, phone, relay):
    with Invitation(desk) as invitation:
        assert 'wrong code' in refused(phone, other_words(invitation.code))
        assert invitation.ended() == 13 and 'void' in invitation.output
        assert 'nobody waits with this code' in refused(phone, invitation.code)
    assert desk.status()['peers'] == []


def test_a_used_and_a_cancelled_code_wait_nowhere(directory, desk, phone, relay):
    with Invitation(desk) as invitation:
        paired(desk, phone, invitation.code, invitation)
    late = make(directory, 'late')
    assert 'nobody waits with this code' in refused(late, invitation.code)
    with Invitation(desk) as invitation:
        invitation.process.terminate()
        invitation.process.wait()
        eventually(lambda: 'nobody waits' in late.run('pair', invitation.code, code=13).stderr)


def test_a_code_that_ran_out_waits_nowhere(desk, phone):
    with Invitation(desk, '--timeout', '1s') as invitation:
        assert invitation.ended() == 4
        refused(phone, invitation.code)


def say(s, message):
    size = len(message)
    s.sendall(b'\x82' + (bytes([0x80 | size]) if size < 126 else b'\xfe' + size.to_bytes(2, 'big')) + bytes(4) + message)


def hear(s):
    """The next message; it has to come as one piece."""
    frame = s.recv(4096)
    assert frame[:1] == b'\x82' and frame[1] < 126, frame
    return frame[2:]


def knock(relay, nameplate):
    """A stranger says HELLO with this number: the status that is answered."""
    number = bytes([nameplate & 127 | 128, nameplate >> 7 & 127 | 128, nameplate >> 14])
    body = number + bytes(16) + b'\1' * 32
    hello = b'B\2\2\3\0' + bytes([len(body)]) + body
    s, _ = stranger.upgrade(relay)
    say(s, hello)
    s.settimeout(15)
    answer = s.recv(4096)
    s.close()
    return answer[4] if answer[:1] == b'\x82' else None  # two bytes of frame, 'B', version, status; None: it closes


def test_strangers_who_try_numbers_are_not_answered_any_more(desk, phone, relay):
    with Invitation(desk) as invitation:
        own = int(invitation.code.split('-')[0])
        statuses = [knock(relay, n) for n in range(100000, 100200) if n != own]
        assert statuses[:120] == [UNKNOWN] * 120 and set(statuses[120:]) == {LATER}
        assert 'try again in a minute' in refused(phone, invitation.code)
        paired(desk, phone, re.sub(r'(\d\.)[^.]*\.0\.0\.1:\d+,', r'\1', invitation.link), invitation)
    assert relay.log.read_text().count('120 knocks') == 1


def test_who_knocks_and_leaves_has_used_the_code_up(desk, phone, relay):
    with Invitation(desk) as invitation:
        knock(relay, int(invitation.code.split('-')[0]))
        assert invitation.ended() == 13 and 'void' in invitation.output


# ---- a relay that lies -----------------------------------------------------------------------------


def nothing_happened(desk, phone):
    assert desk.status()['peers'] == [] and not list(phone.home.glob('*/format'))


def test_a_relay_that_keeps_what_it_is_told(desk, phone, relay):
    """Nothing was spent: the code is good at a relay that is one."""
    with Middle(relay.listen, lambda way, n, message: []) as liar, Invitation(desk) as invitation:
        assert 'did not answer in time' in refused(phone, at(invitation.code, liar.address), '--timeout', '1s', code=4)
        nothing_happened(desk, phone)
        paired(desk, phone, invitation.code, invitation)


@pytest.mark.parametrize('way,n', [('down', 0), ('up', 1), ('down', 1), ('up', 2), ('up', 3), ('down', 2)])
def test_a_relay_that_breaks_off(desk, phone, relay, way, n):
    def edit(w, k, message):
        return None if (w, k) == (way, n) else [message]
    with Middle(relay.listen, edit) as liar, Invitation(desk) as invitation:
        refused(phone, at(invitation.code, liar.address), '--timeout', '5s', code=None)
        assert invitation.ended() == 13
    nothing_happened(desk, phone)


@pytest.mark.parametrize('way,n', [('up', 0), ('down', 0), ('up', 1), ('down', 1), ('up', 2), ('up', 3), ('down', 2)])
def test_a_relay_that_changes_a_bit(desk, phone, relay, way, n):
    """HELLO, answer, the three messages of the handshake, and the first of what is said then."""
    def edit(w, k, message):
        return [message[:-1] + bytes([message[-1] ^ 1])] if (w, k) == (way, n) else [message]
    with Middle(relay.listen, edit) as liar, Invitation(desk) as invitation:
        said = refused(phone, at(invitation.code, liar.address), '--timeout', '5s', code=None)
        assert re.search('wrong|not authentic|cut off|did not answer', said), said
        assert invitation.ended() == 13
    nothing_happened(desk, phone)


def test_a_relay_that_puts_somebody_else_through(directory, desk, phone, relay):
    """Its own device waits under the number that it makes of ours: what is said then opens with no key that device has."""
    mallory = invite_at(make(directory, 'mallory'), relay)
    with Invitation(desk) as invitation, Invitation(mallory, '--timeout', '1m') as trap:
        def edit(way, n, message):
            if (way, n) != ('up', 0):
                return [message]
            number = int(trap.code.split('-')[0])
            return [message[:6] + bytes([number & 127 | 128, number >> 7 & 127 | 128, number >> 14]) + message[9:]]
        with Middle(relay.listen, edit) as liar:
            assert 'cut off' in refused(phone, at(invitation.code, liar.address), code=1)
        assert trap.ended() == 13
        nothing_happened(desk, phone)
        paired(desk, phone, invitation.code, invitation)
    assert mallory.status()['peers'] == []
    mallory.close()


def test_a_relay_that_says_again_what_was_said(desk, phone, relay):
    """What it recorded of one try with a link, it says to the same link: other nonce, other keys."""
    with Invitation(desk) as invitation:
        only = re.sub(r'(#v1\.[^.]+\.[^.]+\.\d+)\..*', r'\1.', invitation.link) + 'ws://'
        with Middle(relay.listen, lambda way, n, m: None if (way, n) == ('up', 2) else [m]) as thief:
            refused(phone, only + thief.address, '--timeout', '5s', code=None)
        recorded = thief.seen['up']
        assert len(recorded) == 3

        def is_waiting_again():
            s, _ = stranger.upgrade(relay)
            s.settimeout(15)
            say(s, recorded[0])
            if hear(s)[2] != 0:  # status
                return s.close()
            return s
        s = eventually(is_waiting_again)
        say(s, recorded[1])
        assert s.recv(4096)[:1] == b'\x88', 'closed: the answer to HELLO has a nonce'
        s.close()
        nothing_happened(desk, phone)
        eventually(lambda: phone.run('pair', invitation.link, code=None).returncode == 0)
        invitation.accepted()


def test_the_last_word_is_lost(desk, phone, relay):
    """The inviter has let the phone in, and it does not know: paired once more, both are as one."""
    with Middle(relay.listen, lambda way, n, m: None if (way, n) == ('down', 3) else [m]) as liar, Invitation(desk) as invitation:
        refused(phone, at(invitation.code, liar.address), '--timeout', '5s', code=None)
        invitation.accepted()
    with Invitation(desk) as invitation:
        paired(desk, phone, invitation.code, invitation)
    same_content(desk, phone)


def test_what_passes_the_relay_names_nothing(desk, phone, relay):
    desk.write('canaryname.txt', 'canaryvalue\n')
    with Middle(relay.listen) as curious, Invitation(desk) as invitation:
        paired(desk, phone, at(invitation.code, curious.address), invitation)
        passed = b''.join(curious.seen['up'] + curious.seen['down'])
        words = invitation.code.split('@')[0].split('-')[1:]
    kept = relay.stored()
    for canary in (b'phone', b'device-desk', b'canary', b'work', '-'.join(words).encode()):
        assert canary not in passed and canary not in kept, canary
    assert len(passed) < 12000


def test_nothing_but_an_invitation_is_asked_for_at_a_relay(desk, relay):
    """HELLOs of the other modes, from who has no token: SYNC, RECOVER, and one that does not exist."""
    for mode, size in ((1, 32), (5, 33), (9, 8)):
        s, _ = stranger.upgrade(relay)
        hello = b'B\2\2' + bytes([mode, 0, size]) + bytes(size)
        say(s, hello)
        s.settimeout(15)
        with contextlib.suppress(socket.timeout, ConnectionError):
            answer = s.recv(4096)
            assert answer[:1] != b'\x82' or answer[4] != 0
        s.close()
    assert relays_of(desk)[0]['state'] != 'away'
