"""Pairing by a one-use link or code: what goes wrong is one line, exit 13, and changes nothing."""
import base64
import contextlib
import os
import pty
import re

import pytest

from blazetest import Node
from blazetest.node import BIN
from blazetest.cluster import CODE, Invitation
from blazetest.terminal import Terminal
from blazetest.wait import SCALE, pause


@pytest.fixture
def hub(node):
    return node.remount(listen='127.0.0.1:0')


@pytest.fixture
def guest(directory):
    made = Node(directory, 'guest')
    yield made
    made.discard()


def parts(link):
    """version, secret, device, expiry, addresses"""
    return link.split('#')[1].split('.', 4)


def changed(link, index, value):
    p = parts(link)
    p[index] = value
    return 'blaze:pair#' + '.'.join(p)


def refused(guest, link, *args, code=13):
    done = guest.run('pair', *args, link, code=code)
    assert done.stderr.startswith('blaze: ') and done.stderr.count('\n') == 1, done.stderr
    assert not list(guest.home.glob('*/format')), 'a database was left behind'
    return done.stderr


def test_link_carries_version_secret_device_expiry_and_address(hub):
    with Invitation(hub) as invitation:
        version, secret, device, expiry, address = parts(invitation.link)
    assert version == 'v1' and len(base64.urlsafe_b64decode(secret + '==')) == 32
    assert len(base64.urlsafe_b64decode(device + '==')) == 32
    assert expiry.isdigit() and address == hub.listen


def test_both_devices_show_the_same_code(hub, guest):
    with Invitation(hub) as invitation:
        told = guest.run('pair', '--name', 'desk', invitation.link).stdout
        invitation.accepted()
    codes = [re.search(r'show: +(\w+ · \w+ · \w+ · \w+)\n', text)[1] for text in (told, invitation.output)]
    assert codes[0] == codes[1] and 'desk' in invitation.output


def test_used_link_is_refused(hub, guest, directory):
    with Invitation(hub) as invitation:
        guest.run('pair', invitation.link)
        invitation.accepted()
    assert 'used' in refused(Node(directory, 'late'), invitation.link)


def test_wrong_secret_is_refused_and_the_right_one_still_works(hub, guest):
    with Invitation(hub) as invitation:
        wrong = base64.urlsafe_b64encode(bytes(32)).decode().rstrip('=')
        refused(guest, changed(invitation.link, 1, wrong))
        guest.run('pair', invitation.link)
        invitation.accepted()


def test_wrong_device_is_refused(hub, guest):
    with Invitation(hub) as invitation:
        other = base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip('=')
        refused(guest, changed(invitation.link, 2, other))


def test_link_that_ran_out_is_refused(hub, guest):
    with Invitation(hub, '--timeout', '500ms') as invitation:
        assert invitation.ended() == 4
        assert 'expired' in refused(guest, invitation.link)
        refused(guest, changed(invitation.link, 3, '9999999999'))


def test_cancelled_invitation_is_void(hub, guest):
    with Invitation(hub) as invitation:
        invitation.process.terminate()
        invitation.process.wait()
        pause(0.5)  # the daemon looks a few times a second whether the one who asked is still there
        refused(guest, invitation.link)


@pytest.mark.parametrize('link', ['blaze:pair#', 'blaze:pair#v1', 'blaze:pair#v1.x.y.z.w', 'blaze:pair#v9.a.b.1.c:1',
                                  'blaze:pair#' + 'A' * 5000, 'blaze:pair#v1.....', 'blaze:pair#\n', 'blaze:pair#é'])
def test_malformed_link_is_refused(guest, link):
    refused(guest, link)


def test_link_to_nobody_says_who_cannot_be_reached(hub, guest):
    with Invitation(hub) as invitation:
        link = changed(invitation.link, 4, '127.0.0.1:1')
    assert '127.0.0.1:1' in refused(guest, link, code=None)


def test_pairing_asks_nothing_and_works_without_a_terminal(hub, guest):
    with Invitation(hub) as invitation:
        guest.run('pair', '-', stdin=invitation.link + '\n')
        invitation.accepted()
    assert (guest.home / 'work' / 'format').exists()


def test_link_is_not_left_in_the_process_list(hub):
    with Invitation(hub) as invitation:
        argv = open(f'/proc/{invitation.process.pid}/cmdline', encoding='utf-8').read()
    assert 'pair#' not in argv


def test_unmounted_device_invites_too(hub, guest):
    hub.write('a.json', '{}')
    hub.stop()
    with Invitation(hub, '--listen', '127.0.0.1:0') as invitation:
        guest.run('pair', invitation.link)
        invitation.accepted()
    guest.mount()
    assert guest.names() == ['a.json']
    guest.close()


def test_joining_a_database_twice_is_refused(hub, guest):
    with Invitation(hub) as invitation:
        guest.run('pair', invitation.link)
        invitation.accepted()
    with Invitation(hub) as invitation:
        done = guest.run('pair', invitation.link, code=None)
    assert done.returncode not in (0, 2) and 'work' in done.stderr


def test_code_pairs(hub, guest):
    hub.write('a.json', '{}')
    with Invitation(hub) as invitation:
        said = guest.run('pair', '--name', 'desk', invitation.code).stdout
        invitation.accepted()
    assert 'done.' in said and 'desk' in invitation.output
    guest.mount()
    assert guest.names() == ['a.json']
    guest.close()


def test_code_may_be_cut_to_four_letters_and_shouted(hub, guest):
    with Invitation(hub) as invitation:
        number, *words = invitation.code.split('-')
        guest.run('pair', ' '.join([f'{number}-{words[0][:4].upper()}', words[1][:4]]))
        invitation.accepted()


def other_words(code):
    number, first, second = code.split('-')
    return f'{number}-{"walnut" if first != "walnut" else "orbit"}-{second}'


def test_wrong_code_is_void_for_everybody(hub, guest):
    """One guess: also who knows the right one is refused after it."""
    with Invitation(hub) as invitation:
        assert 'wrong code' in refused(guest, other_words(invitation.code))
        assert invitation.ended() == 13 and 'void' in invitation.output
        assert 'not known' in refused(guest, invitation.code)
        assert 'void' in refused(guest, invitation.link)


def test_nameplate_alone_is_no_code(hub, guest):
    with Invitation(hub) as invitation:
        number = invitation.code.split('-')[0]
        for text in (number, f'{number}-', f'{number}-walnut', f'{number}-walnut-walnut-walnut', f'{number}-xyzzy-walnut'):
            refused(guest, text, code=None)
        guest.run('pair', invitation.code)
        invitation.accepted()


def test_used_code_is_not_known_any_more(hub, guest, directory):
    with Invitation(hub) as invitation:
        guest.run('pair', invitation.code)
        invitation.accepted()
    assert 'not known' in refused(Node(directory, 'late'), invitation.code)
    assert 'used' in refused(Node(directory, 'later'), invitation.link)


def test_code_at_an_address(hub, guest):
    """The nameplate is not needed to find it; nor does another machine's code work here."""
    with Invitation(hub) as invitation:
        number, rest = invitation.code.split('-', 1)
        refused(guest, f'{int(number) % 999 + 1}-{rest}', '--at', hub.listen)
        guest.run('pair', '--at', hub.listen, invitation.code)
        invitation.accepted()


def test_code_that_nobody_waits_with_is_not_known(guest):
    assert 'not known' in refused(guest, '999-acorn-walnut')


def test_malformed_address_is_refused(guest):
    assert 'no address' in refused(guest, '7-acorn-walnut', '--at', 'nowhere', code=None)


def test_code_that_ran_out_is_not_known(hub, guest):
    with Invitation(hub, '--timeout', '500ms') as invitation:
        assert invitation.ended() == 4
        assert 'not known' in refused(guest, invitation.code)


@pytest.mark.parametrize('answer', ['n', 'y'])
def test_inviter_is_asked_on_a_terminal(hub, guest, answer):
    with Terminal([BIN, 'pair'], hub.directory, hub.env) as inviter:
        shown = inviter.expect('Waiting').text()
        assert '█' in shown, 'no QR code'
        joiner = guest.start('pair', '--name', 'desk', CODE.search(shown)[1])
        shown = inviter.expect('Trust desk').text()
        assert not hub.status()['peers'], 'it was not waited for the answer'
        inviter.type(answer + '\n')
        said = joiner.communicate(timeout=20 * SCALE)[0]
        code = inviter.ended()
    words = re.search(r'show: +(\w+ · \w+ · \w+ · \w+)', said)[1]
    assert words in shown
    assert (joiner.returncode, code) == ((0, 0) if answer == 'y' else (13, 13)), said
    assert bool(hub.status()['peers']) == (answer == 'y') == (guest.home / 'work').exists()


def answer_on_a_terminal(guest, link, answer):
    """`blaze pair LINK` with a terminal, on which a person types `answer`; its exit code and output."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ['BLAZE_HOME'] = str(guest.home)
        os.execv(BIN, [BIN, 'pair', link])
    said = b''
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while True:
            if said.count(b'[y/N]') and answer:
                os.write(terminal, answer + b'\n')
                answer = b''
            more = os.read(terminal, 4096)
            if not more:
                break
            said += more
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()


def test_who_declines_on_a_terminal_is_not_waited_for(hub, guest):
    with Invitation(hub) as invitation:
        code, said = answer_on_a_terminal(guest, invitation.link, b'n')
        assert code == 13 and 'Check that both devices show' in said, said
    assert not list(guest.home.glob('*/format'))
    assert hub.status()['peers'] == []


def test_who_agrees_on_a_terminal_joins(hub, guest):
    with Invitation(hub) as invitation:
        code, said = answer_on_a_terminal(guest, invitation.link, b'y')
    assert code == 0 and 'done.' in said, said
    assert len(hub.status()['peers']) == 1


def test_name_already_taken_is_told_before_anyone_counts_on_it(hub, guest):
    guest.init()
    with Invitation(hub) as invitation:
        done = guest.run('pair', invitation.link, code=1)
        assert 'is on this device already' in done.stderr
    assert hub.status()['peers'] == []
