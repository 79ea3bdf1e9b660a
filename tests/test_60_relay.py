"""Devices that never meet sync through a relay that cannot read them."""
import os
import shutil
import signal

import pytest

from blazetest.cluster import is_connected
from blazetest.node import BUILD, Node
from blazetest.proxy import Proxy
from blazetest.relay import Relay, is_idle, relays_of, wait_idle
from blazetest.wait import eventually, now


class Recorder(Proxy):
    RECORD_FROM_START = True


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


def test_an_edit_comes_through_the_relay(apart):
    a, b = apart.nodes
    a.write('notes/todo.txt', 'milk\n')
    eventually(lambda: b.exists('notes/todo.txt') and b.text('notes/todo.txt') == 'milk\n')
    b.write('notes/todo.txt', 'milk\nbread\n')
    eventually(lambda: a.text('notes/todo.txt') == 'milk\nbread\n')
    assert not is_connected(a) and not is_connected(b)


def test_devices_that_are_never_up_together(apart):
    a, b = apart.nodes
    a.stop()
    b.write('from-b.json', '{"n": 1}\n')
    b.write('large.bin', os.urandom(3 << 20))
    wait_idle(b)
    want = b.tree()
    b.stop()
    a.mount()
    eventually(lambda: a.tree() == want, 20)


def test_wait_says_what_is_true(apart):
    """Another device's word, not the relay's receipt, makes a change synced."""
    a, b = apart.nodes
    a.write('r.json', '{}')
    a.wait()
    assert b.text('r.json') == '{}'
    b.stop()
    a.write('later.json', '{}')
    wait_idle(a)
    assert 'not yet on' in a.wait('1s', code=4).stderr
    b.mount()
    a.wait()


def test_large_content(apart):
    a, b = apart.nodes
    content = os.urandom(5 << 20)
    a.write('large.bin', content)
    eventually(lambda: b.exists('large.bin') and b.read('large.bin') == content, 30)
    sent = relays_of(a)[0]['up_bytes']
    a.write('again.bin', content + b'!')
    eventually(lambda: b.exists('again.bin') and b.read('again.bin') == content + b'!', 30)
    assert relays_of(a)[0]['up_bytes'] - sent < 2 << 20, 'what the relay has is not sent again'


def test_history_from_before_the_relay(pair, relay):
    a, b = pair.nodes
    for n in range(50):
        a.write(f'old/{n}.json', f'{{"n": {n}}}\n')
    pair.synced()
    pair.cut()
    a.run('relay', 'add', relay.address, a.database)
    wait_idle(a)
    b.write('new.json', '{}')
    b.run('relay', 'add', relay.address, b.database)
    wait_idle(b)
    eventually(lambda: a.tree() == b.tree(), 20)


def test_restart_under_load_loses_nothing(apart, relay):
    a, b = apart.nodes
    for round in range(4):
        for n in range(40):
            a.write(f'a/{round}-{n}.json', f'{{"n": {n}}}\n')
            b.write(f'b/{round}-{n}.json', f'{{"n": {n}}}\n')
            if n == 10 * round:
                relay.kill9().start()
    apart.synced(deadline=40)
    wait_idle(a, b)
    assert all(r['alarm'] == '' and r['refused'] == 0 for x in (a, b) for r in relays_of(x))


CANARIES = (b'canary', b'device-a', b'device-b', b'todo')


def write_canaries(a, b):
    a.write('canarydirectory/canaryname.json', '{"canarykey": "canaryvalue"}\n')
    a.write('canaryname.txt', 'canaryvalue\n' * 100)
    a.write('canary.bin', b'canaryvalue' * 300000 + os.urandom(1000))
    a.wait()
    assert b.text('canarydirectory/canaryname.json') == '{"canarykey": "canaryvalue"}\n'


def test_relay_holds_no_name_key_or_value(apart, relay):
    a, b = apart.nodes
    write_canaries(a, b)
    relay.stop()
    stored = relay.stored()
    assert len(stored) > 10000
    for canary in (*CANARIES, a.database.encode() + b'.'):
        assert canary not in stored, canary
    relay.start()


def test_wire_to_the_relay_holds_no_name_key_or_value(pair, relay):
    """All that passes between devices and relay, from the first byte of the connections on, both ways."""
    a, b = pair.nodes
    pair.cut()
    proxy = Recorder(relay.listen)
    try:
        address = relay.run('address', '--address', proxy.address).stdout.strip()
        for node in (a, b):
            node.run('relay', 'add', address, node.database)
        wait_idle(a, b)
        write_canaries(a, b)
        b.write('canaryback.json', '{"canarykey": 2}\n')
        eventually(lambda: a.exists('canaryback.json'))
        for passed in (proxy.up, proxy.down):
            assert len(passed) > 10000 and b'websocket' in passed.lower(), 'it is recorded: the WebSocket handshake is plain'
            for canary in (*CANARIES, a.database.encode() + b'.', address.split('#k=')[1].encode()):
                assert canary not in passed, canary
        for node in (a, b):
            node.run('relay', 'remove', f'ws://{proxy.address}', node.database, code=None)
    finally:
        proxy.close()


def test_a_relay_added_on_one_device_is_everybodys(pair, relay):
    a, b = pair.nodes
    a.run('relay', 'add', relay.address, a.database)
    wait_idle(b)
    pair.cut()
    b.write('r.json', '{}')
    eventually(lambda: a.exists('r.json'))


def test_hub(pair, relay):
    """Everything goes through the relay, though the two could talk to each other; and back."""
    a, b = pair.nodes
    a.run('relay', 'add', relay.address, a.database)
    wait_idle(a, b)
    a.run('topology', 'set', 'hub', a.database)
    eventually(lambda: not is_connected(a) and not is_connected(b))
    a.write('r.json', '{}')
    eventually(lambda: b.exists('r.json'))
    assert not is_connected(a) and not is_connected(b)
    a.run('topology', 'set', 'mesh', a.database)
    eventually(lambda: is_connected(a) and is_connected(b))


def test_list_add_and_remove(apart, relay):
    a, _ = apart.nodes
    assert relay.shown in a.run('relay', a.database).stdout
    assert '#k=' not in a.run('relay', 'list', a.database).stdout
    a.run('relay', 'remove', relay.shown, a.database)
    eventually(lambda: relays_of(a) == [])
    assert 'no relay' in a.run('relay', 'remove', relay.shown, a.database, code=1).stderr
    a.run('relay', 'add', '-', a.database, stdin=relay.address + '\n')
    wait_idle(a)
    a.remount()
    wait_idle(a)


@pytest.mark.parametrize('address', ['', 'ws://h:1', 'ws://h:1#k=abc', 'h:1', 'ws://#k=' + 'A' * 86,
                                     'ws://h:99999#k=' + 'A' * 86])
def test_bad_addresses(node, address):
    said = node.run('relay', 'add', address, node.database, code=2).stderr
    assert said.startswith('blaze: relay: ') and said.count('\n') == 1


def test_another_relay_behind_the_address(apart, relay, directory):
    """The key is pinned: who only has the host and port learns nothing, not even who we are."""
    a, _ = apart.nodes
    relay.kill9()
    other = Relay(directory, 'other')
    other.listen = relay.listen
    other.start()
    try:
        eventually(lambda: 'key' in relays_of(a)[0]['error'])
        assert not is_idle(a)
    finally:
        other.kill9()
        relay.start()


def test_a_removed_device_is_turned_away(apart):
    """It is off the list; what the others write from then on it does not even get as ciphertext."""
    a, b = apart.nodes
    a.run('devices', 'remove', 'device-b', a.database)
    eventually(lambda: 'not on the list' in relays_of(b)[0]['error'])
    a.write('secret.json', '{}')
    wait_idle(a)
    assert not b.exists('secret.json') and relays_of(b)[0]['state'] != 'synced'


def test_a_removed_device_with_all_that_the_relay_has(pair, liar):
    """The relay is in league with it and gives it everything: it hears that it was removed, and reads nothing of after."""
    a, b = through(pair, liar)
    a.write('shared.json', '{"of": "before"}\n')
    a.write('large.bin', b'before' * 500000)
    eventually(lambda: is_idle(b) and b.exists('large.bin') and b.exists('shared.json'))
    before = b.tree()
    a.run('devices', 'remove', 'device-b', a.database)
    liar.lie('collude')
    a.write('shared.json', '{"of": "after"}\n')
    a.write('secret.json', '{}')
    a.write('large.bin', b'before' * 250000 + b'after!' * 250000)
    wait_idle(a)
    eventually(lambda: relays_of(b)[0]['keyless'], 20)
    eventually(lambda: relays_of(b)[0]['cursor'] == relays_of(a)[0]['cursor'], 10, 'it is given all')
    assert relays_of(b)[0]['refused'] == 0 and relays_of(b)[0]['alarm'] == ''
    assert b.tree() == before
    assert 'under a key that this device does not have' in b.run('relay', b.database).stdout


def test_the_others_go_on_after_a_removal(clusters, relay):
    """Under the new key, in the same log: who was away reads on, and large content is not put twice."""
    a, _, c = through(clusters(3), relay)
    content = os.urandom(3 << 20)
    a.write('large.bin', content)
    eventually(lambda: c.exists('large.bin') and is_idle(c), 30)
    c.stop()
    a.run('devices', 'remove', 'device-b', a.database)
    sent = relays_of(a)[0]['up_bytes']
    a.write('again.bin', content + b'!')
    a.write('after.json', '{}')
    wait_idle(a)
    assert relays_of(a)[0]['up_bytes'] - sent < 2 << 20
    a.stop()
    c.mount()
    eventually(lambda: c.exists('again.bin') and c.read('again.bin') == content + b'!' and c.exists('after.json'), 30)
    c.write('mine.json', '{}')
    wait_idle(c)
    assert not relays_of(c)[0]['keyless']
    c.stop()
    a.mount()
    eventually(lambda: a.exists('mine.json'), 20)


# ---- a relay that lies ------------------------------------------------------------------------------

WARNING = r'blaze warning: relay ws://127\.0\.0\.1:\d+.*'


@pytest.fixture
def liar(directory):
    """A relay whose store lies as long as liar.lie(how) says so."""
    r = Relay(directory, 'liar', program=BUILD / 'tests' / 'hostile' / 'relay')
    path = directory / 'lie'
    r.env['HOSTILE'] = str(path)
    r.lie = path.write_text
    r.honest = path.unlink
    yield r.start()
    r.kill9()


def through(pair, relay):
    pair.cut()
    for node in pair.nodes:
        node.allow(WARNING)
        node.run('relay', 'add', relay.address, node.database)
    wait_idle(*pair.nodes)
    return pair.nodes


@pytest.mark.parametrize('lie', ['damage', 'repeat'])
def test_items_that_are_not_what_was_put(pair, liar, lie):
    """Nothing of it is applied, both devices' chains differ, and the relay is named."""
    a, b = through(pair, liar)
    before = b.tree()
    liar.lie(lie)
    a.write('r.json', '{"n": 1}\n')
    eventually(lambda: relays_of(b)[0]['cursor'] == relays_of(a)[0]['cursor'])
    b.write('mine.json', '{}')
    eventually(lambda: relays_of(a)[0]['alarm'] or relays_of(b)[0]['alarm'])
    if lie == 'damage':
        assert relays_of(b)[0]['refused'] > 0
    assert {p: v for p, v in b.tree().items() if p != 'mine.json'} == before
    assert 'not to be trusted' in a.run('relay', a.database).stdout + b.run('relay', b.database).stdout


def test_swapped_mailboxes(pair, liar, directory):
    other = Node(directory, 'z').init().mount()
    try:
        other.write('other.json', '{"other": 1}\n')
        other.run('relay', 'add', liar.address, other.database)
        wait_idle(other)
        other.write('again.json', '{"other": 2}\n')
        wait_idle(other)
        pair.cut()
        for node in pair.nodes:
            node.allow(WARNING)
        a, b = pair.nodes
        a.run('relay', 'add', liar.address, a.database)
        wait_idle(a)
        before = b.tree()
        liar.lie('swap')
        b.run('relay', 'add', liar.address, b.database)
        eventually(lambda: relays_of(b)[0]['refused'] > 0)
        assert b.tree() == before
    finally:
        other.discard()


def test_rollback_is_seen_and_healed(pair, relay, directory):
    """A relay that was put back to an old copy of its store: both say so, and give it again what it lost."""
    a, b = through(pair, relay)
    relay.stop()
    shutil.copytree(relay.home, directory / 'copy')
    relay.start()
    for n in range(5):
        a.write(f'lost{n}.json', f'{{"n": {n}}}\n')
    a.wait()
    eventually(lambda: is_idle(b))
    b.stop()
    relay.stop()
    shutil.rmtree(relay.home)
    shutil.copytree(directory / 'copy', relay.home)
    relay.start()
    eventually(lambda: 'lost what it gave receipts for' in relays_of(a)[0]['alarm'])
    wait_idle(a)
    a.write('after.json', '{}')
    wait_idle(a)
    b.mount()
    eventually(lambda: a.tree() == b.tree(), 20)


def test_store_that_cannot_be_read(pair, liar):
    a, b = through(pair, liar)
    liar.lie('gap')
    a.write('r.json', '{}')
    wait_idle(a)
    assert not b.exists('r.json')
    liar.honest()
    eventually(lambda: b.exists('r.json'), 20)


def test_full_disk(pair, relay, directory):
    """The relay says so, the client keeps its queue, and all goes on when there is room."""
    rule = directory / 'rule'
    relay.env['FAILIO_RULE'] = str(rule)
    relay.stop()
    relay.start(preload=str(BUILD / 'tests' / 'faults' / 'failio.so'))
    a, b = through(pair, relay)
    rule.write_text('write 28 .log')
    a.write('r.json', '{"n": 1}\n')
    eventually(lambda: 'full' in relays_of(a)[0]['error'] or 'disk' in relays_of(a)[0]['error'])
    assert not b.exists('r.json')
    rule.unlink()
    eventually(lambda: b.exists('r.json') and b.text('r.json') == '{"n": 1}\n', 30)


def test_quota(pair, relay):
    relay.stop()
    relay.start('--mailbox-bytes', '200000')
    a, b = through(pair, relay)
    a.write('large.bin', os.urandom(1 << 20))
    eventually(lambda: 'quota' in relays_of(a)[0]['error'])
    relay.stop()
    relay.start()
    eventually(lambda: b.exists('large.bin'), 30)


def test_frozen_relay_stops_nobody(apart, relay):
    a, _ = apart.nodes
    os.kill(relay.process.pid, signal.SIGSTOP)
    try:
        for n in range(20):
            start = now()
            a.write(f'{n}.json', '{}')
            assert now() - start < 1
    finally:
        os.kill(relay.process.pid, signal.SIGCONT)
    apart.synced(deadline=30)
