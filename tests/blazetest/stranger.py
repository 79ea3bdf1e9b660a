"""Somebody at the listening port of a node who is no device."""
import base64
import os
import socket

REQUEST = ('GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
           'Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{protocol}\r\n')


def dial(node, timeout=5):
    host, port = node.listen.rsplit(':', 1)
    return socket.create_connection((host, int(port)), timeout)


def upgrade(node, path='/blaze/1', protocol=None):
    s = dial(node)
    key = base64.b64encode(os.urandom(16)).decode()
    said = f'Sec-WebSocket-Protocol: {protocol}\r\n' if protocol else ''
    s.sendall(REQUEST.format(path=path, key=key, protocol=said).encode())
    return s, s.recv(4096)


def closed(s):
    """The other side closes, with whatever it says before."""
    s.settimeout(15)
    try:
        while s.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def replay(node, recorded):
    """Says the hello of a recorded connection once more, and then the rest. Returns the status that is answered."""
    recorded = recorded[recorded.index(b'\r\n\r\n') + 4:]
    hello = 6 + (recorded[1] & 127)  # a short frame: two bytes, four of mask
    s, _ = upgrade(node)
    s.settimeout(15)
    s.sendall(recorded[:hello])
    answer = s.recv(4096)
    try:
        s.sendall(recorded[hello:])
        closed(s)
    except ConnectionError:
        pass
    s.close()
    return answer[answer.index(b'B') + 2]  # two bytes of frame, perhaps the lane, then 'B', version, status
