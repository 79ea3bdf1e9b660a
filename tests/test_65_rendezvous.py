"""Pairing by a code when only a relay can be reached by both devices."""
import re

import pytest

from blazetest import Node
from blazetest.cluster import Invitation
from blazetest.relay import Relay, wait_idle
from blazetest.wait import eventually


@pytest.fixture
def relay(directory):
    r = Relay(directory).start()
    yield r
    try:
        r.stop()
    finally:
        r.kill9()


@pytest.fixture
def desk(directory, relay):
    """A device with a database and a relay, which looks for pairing codes in a directory of its own."""
    made = Node(directory, 'desk')
    made.env['XDG_RUNTIME_DIR'] = str(made.directory)
    made.init()
    made.mount(listen='127.0.0.1:0')
    made.run('relay', 'add', relay.address, made.database)
    wait_idle(made)
    yield made
    made.close()


@pytest.fixture
def phone(directory):
    made = Node(directory, 'phone')
    made.env['XDG_RUNTIME_DIR'] = str(made.directory)
    yield made
    made.close()


def test_a_code_and_the_relay_are_enough(desk, phone, relay):
    desk.write('todo.txt', 'milk\n')
    with Invitation(desk) as invitation:
        assert invitation.code.endswith('@' + relay.listen)
        told = phone.run('pair', invitation.code).stdout
        invitation.accepted()
    words = [re.search(r'show: +(\w+ · \w+ · \w+ · \w+)\n', text)[1] for text in (told, invitation.output)]
    assert words[0] == words[1]
    print(told, invitation.output)
    phone.mount()
    assert phone.text('todo.txt') == 'milk\n'
    phone.write('reply.txt', 'bread\n')
    eventually(lambda: desk.exists('reply.txt') and desk.text('reply.txt') == 'bread\n')
