"""Strangers at the listening port: whatever they send, the device goes on, and is not made to wait."""
import os
import random
import socket
import struct

import pytest

from blazetest.cluster import is_connected
from blazetest.stranger import closed, dial, replay, upgrade
from blazetest.wait import eventually


def frame(payload, opcode=2, length=None, masked=True):
    """A WebSocket frame of a client; `length` lies about the size."""
    n = len(payload) if length is None else length
    mask = os.urandom(4)
    size = struct.pack('!B', 128 * masked | n) if n < 126 else \
        struct.pack('!BH', 128 * masked | 126, n) if n < 65536 else struct.pack('!BQ', 128 * masked | 127, n)
    body = bytes(b ^ mask[i % 4] for i, b in enumerate(payload)) if masked else payload
    return bytes([128 | opcode]) + size + (mask if masked else b'') + body


def goes_on(pair):
    """Files work, and the paired device still gets what is written."""
    a, b = pair.nodes
    a.write('alive.json', '{"alive":true}')
    a.wait()
    assert b.text('alive.json') == '{"alive":true}'
    a.process.poll()
    assert a.process.returncode is None


RAW = {
    'nothing': b'',
    'newlines': b'\r\n' * 10000,
    'random': random.Random(3).randbytes(100000),
    'zeros': bytes(100000),
    'tls': b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + bytes(500),
    'http': b'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
    'endless header': b'GET /blaze/1 HTTP/1.1\r\nX: ' + b'y' * 200000,
    'many headers': b'GET /blaze/1 HTTP/1.1\r\n' + b'A: b\r\n' * 20000 + b'\r\n',
    'traversal': b'GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n',
    'long path': b'GET /' + b'a' * 60000 + b' HTTP/1.1\r\n\r\n',
}


@pytest.mark.parametrize('what', RAW)
def test_garbage_on_the_socket(pair, what):
    for _ in range(3):
        with dial(pair.nodes[0]) as s:
            try:
                s.sendall(RAW[what])
                s.shutdown(socket.SHUT_WR)
                closed(s)
            except OSError:
                pass
    goes_on(pair)


FRAMES = {
    'empty': frame(b''),
    'random': frame(random.Random(4).randbytes(300)),
    'first message of zeros': frame(bytes(96)),
    'largest allowed': frame(bytes(32768)),
    'oversized': frame(bytes(1 << 20)),
    'claims 8 EiB': frame(b'x', length=(1 << 63) - 1),
    'claims more than it sends': frame(b'x' * 10, length=30000),
    'text': frame(b'hello', opcode=1),
    'ping flood': frame(b'ping', opcode=9) * 2000,
    'reserved opcode': frame(b'x', opcode=11),
    'unmasked': frame(b'x' * 50, masked=False),
    'reserved bits': b'\xf2' + frame(b'x' * 50)[1:],
    'fragments without end': (b'\x02' + frame(b'y' * 100)[1:]) + (b'\x00' + frame(b'y' * 100)[1:]) * 1000,
    'close': frame(b'\x03\xe8', opcode=8),
}


@pytest.mark.parametrize('what', FRAMES)
def test_garbage_within_websocket(pair, what):
    for _ in range(3):
        s, answer = upgrade(pair.nodes[0])
        assert b' 101 ' in answer
        try:
            s.sendall(FRAMES[what])
            s.shutdown(socket.SHUT_WR)
            closed(s)
        except OSError:
            pass
        s.close()
    goes_on(pair)


@pytest.mark.parametrize('path, protocol', [('/', None), ('/blaze/2', None), ('/blaze/1', 'chat')])
def test_other_paths_and_protocols_are_not_served(pair, path, protocol):
    s, answer = upgrade(pair.nodes[0], path, protocol)
    assert b' 101 ' not in answer
    s.close()


def test_half_open_sockets_are_given_up(pair):
    idle = [dial(pair.nodes[0]) for _ in range(10)]
    goes_on(pair)
    assert all(closed(s) for s in idle)


def test_silent_websockets_are_given_up(pair):
    idle = [upgrade(pair.nodes[0])[0] for _ in range(5)]
    goes_on(pair)
    assert all(closed(s) for s in idle)


def test_crowd_of_strangers_does_not_keep_the_peer_out(pair):
    a, b = pair.nodes
    pair.cut()
    crowd = []
    for _ in range(200):
        try:
            crowd.append(dial(a, 1))
        except OSError:
            break
    pair.restore()
    eventually(lambda: is_connected(b), 20, 'the peer gets in despite 200 strangers')
    for s in crowd:
        s.close()
    goes_on(pair)


def test_descriptors_are_not_leaked(pair):
    a = pair.nodes[0]
    count = lambda: len(os.listdir(f'/proc/{a.process.pid}/fd'))  # noqa: E731
    with dial(a):
        pass
    goes_on(pair)
    before = count()
    for _ in range(100):
        with dial(a) as s:
            s.sendall(b'\0' * 100)
    eventually(lambda: count() <= before + 2, 20)


def test_flipped_bits_on_the_wire_are_noticed_and_healed(pair):
    a, b = pair.nodes
    pair.proxy().flip = 100
    a.write('flipped.json', '{"n":1}' + ' ' * 5000)
    eventually(lambda: pair.proxy().flip is None, 10, 'a byte was flipped')
    pair.synced(deadline=30)
    assert b.text('flipped.json') == a.text('flipped.json')


def test_replayed_bytes_are_of_no_use(pair):
    a, b = pair.nodes
    pair.proxy().record()
    b.write('once.json', '{"n":1}')
    b.wait()
    a.path('once.json').unlink()
    a.wait()
    s, _ = upgrade(a)
    try:
        s.sendall(bytes(pair.proxy().up))
        closed(s)
    except ConnectionError:
        pass
    goes_on(pair)
    assert not a.exists('once.json')


def test_who_fails_to_show_its_key_again_and_again_has_to_wait(pair):
    a, b = pair.nodes
    pair.proxy().record()
    pair.cut()
    pair.restore()
    eventually(lambda: is_connected(b), 10)
    recorded = bytes(pair.proxy().up)
    assert [replay(a, recorded) for _ in range(11)] == [0] * 10 + [7]
    assert '10 handshakes in its name from 127.0.0.1 have failed' in a._log.read_text()
    goes_on(pair)  # who is connected is not concerned
