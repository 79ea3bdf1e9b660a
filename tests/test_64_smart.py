"""A relay that may read what it was granted, and nothing else."""
import os

import pytest

from blazetest.node import BUILD, Node
from blazetest.relay import Relay, relays_of, wait_idle
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
def apart(pair, relay):
    """Two paired devices whose only way to each other is the relay."""
    pair.cut()
    for node in pair.nodes:
        node.run('relay', 'add', relay.address, node.database)
    wait_idle(*pair.nodes)
    return pair


def grant(node, relay, *names, code=0):
    return node.run('relay', 'grant', relay.shown, *[f'{node.database}:{n}' for n in names], code=code)


def copied(node):
    return relays_of(node)[0]['copied']


def wait_copied(*nodes, deadline=20):
    for node in nodes:
        eventually(lambda n=node: copied(n), deadline, f'the copy of {node.name} is complete')


def copy_of(relay):
    """All bytes of the copies that a relay has of databases."""
    return b''.join(p.read_bytes() for p in sorted((relay.home / 'read').rglob('*')) if p.is_file())


def member(node):
    return next(d for d in node.json('devices', node.database)['devices'] if d['name'] == 'relay')


def test_granted_listed_revoked(apart, relay):
    a, b = apart.nodes
    a.write('notes/todo.txt', 'granted canary\n')
    a.write('letters/one.txt', 'kept canary\n')
    apart.synced()
    done = grant(a, relay, 'notes')
    assert 'It has what is here.' in done.stdout
    assert 'reads: notes' in a.run('devices', a.database).stdout
    assert member(a)['reads'] == ['notes']
    eventually(lambda: any(d['role'] == 'relay' for d in b.json('devices', b.database)['devices']))
    wait_copied(a, b)
    b.write('notes/more.txt', 'second granted canary\n')
    a.wait()
    wait_copied(a, b)
    has = copy_of(relay)
    assert b'granted canary' in has and b'second granted canary' in has and b'todo.txt' in has
    assert b'kept canary' not in has and b'letters' not in has and b'one.txt' not in has
    done = a.run('relay', 'revoke', relay.shown, a.database)
    assert 'erased its copy' in done.stdout
    assert copy_of(relay) == b''
    assert member(a)['removed']
    a.write('notes/todo.txt', 'canary after\n')
    apart.synced()
    assert b.text('notes/todo.txt') == 'canary after\n'
