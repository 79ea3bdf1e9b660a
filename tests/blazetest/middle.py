"""Somebody between a device and a relay who sees WebSocket messages, and may change, keep, repeat or invent them."""
import socket
import threading


class Middle:
    """
    A relay of two faces: devices dial `address`, and are dialled on to `target`. `edit(way, n, message)` says what becomes
    of the n-th message of a connection, `way` being "up" (from who dialled) or "down": the messages to pass on in its
    place, or None to close both ends.
    """

    def __init__(self, target, edit=lambda way, n, message: [message]):
        self.target, self.edit = target, edit
        self.seen = {'up': [], 'down': []}  # of all connections, before edit()
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.address = '127.0.0.1:%d' % self._listener.getsockname()[1]
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for s in [self._listener, *self._open]:
            _close(s)

    def _accept(self):
        while True:
            try:
                near = self._listener.accept()[0]
                host, port = self.target.rsplit(':', 1)
                far = socket.create_connection((host, int(port)), timeout=5)
            except OSError:
                return
            far.settimeout(None)
            self._open += [near, far]
            for source, sink, way in ((near, far, 'up'), (far, near, 'down')):
                threading.Thread(target=self._pump, args=(source, sink, way), daemon=True).start()

    def _pump(self, source, sink, way):
        try:
            stream = source.makefile('rb')
            if stream.peek(1)[:1] == b'\x16':
                raise OSError('TLS is not spoken here')
            while (line := stream.readline()):  # the upgrade
                sink.sendall(line)
                if line == b'\r\n':
                    break
            n = 0
            while (frame := _read_frame(stream)):
                head, message = frame
                if head & 0x0f >= 8:  # ping, pong, close
                    sink.sendall(_frame(head, message, way))
                    continue
                self.seen[way].append(message)
                become = self.edit(way, n, message)
                if become is None:
                    raise OSError('edit() said so')
                for one in become:
                    sink.sendall(_frame(head, one, way))
                n += 1
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            _close(source)
            _close(sink)


def _read_frame(stream):
    start = stream.read(2)
    if len(start) < 2:
        return None
    size = start[1] & 127
    if size >= 126:
        size = int.from_bytes(stream.read(2 if size == 126 else 8), 'big')
    mask = stream.read(4) if start[1] & 128 else bytes(4)
    data = stream.read(size)
    return start[0], bytes(b ^ mask[i % 4] for i, b in enumerate(data))


def _frame(head, message, way):
    masked = 128 if way == 'up' else 0
    size = len(message)
    length = bytes([masked | size]) if size < 126 else bytes([masked | 126]) + size.to_bytes(2, 'big')
    return bytes([head]) + length + (bytes(4) if masked else b'') + message


def _close(s):
    try:
        s.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    s.close()
