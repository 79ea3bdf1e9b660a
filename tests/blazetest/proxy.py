"""A TCP relay between two nodes that can cut, hold, delay and record what passes."""
import socket
import struct
import threading

from blazetest import wait

RESET = struct.pack('ii', 1, 0)


class Proxy:
    """Listens on a port of its own and forwards to `target` ("host:port", may change)."""

    RECORD_FROM_START = False

    def __init__(self, target):
        self.target = target
        self.delay = 0.0  # seconds, each way
        self.flip = None  # a number: the so-many-th next byte to the dialling side gets a bit flipped
        self.recording = self.RECORD_FROM_START
        self.up = bytearray()  # what the dialling side sent, while recording
        self.down = bytearray()
        self.connections = 0
        self.passed = 0  # bytes, both ways together
        self._open = threading.Event()  # cleared: refuse and reset
        self._open.set()
        self._flow = threading.Event()  # cleared: keep connections, pass nothing
        self._flow.set()
        self._lock = threading.Lock()
        self._pairs = []
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.address = '127.0.0.1:%d' % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """Resets every connection and refuses new ones, until restore()."""
        self._open.clear()
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for s in pair:
                _reset(s)

    def hold(self):
        """Passes nothing on, without closing anything, until restore()."""
        self._flow.clear()

    def restore(self):
        self._open.set()
        self._flow.set()

    def record(self):
        """Starts recording anew."""
        self.up, self.down, self.recording = bytearray(), bytearray(), True

    def close(self):
        self.restore()
        self.cut()
        self._listener.close()

    def _accept(self):
        while True:
            try:
                near = self._listener.accept()[0]
            except OSError:
                return
            if not self._open.is_set():
                _reset(near)
                continue
            try:
                host, port = self.target.rsplit(':', 1)
                far = socket.create_connection((host, int(port)), timeout=5)
            except (OSError, ValueError):
                _reset(near)
                continue
            far.settimeout(None)
            self.connections += 1
            with self._lock:
                self._pairs.append((near, far))
            for source, sink, name in ((near, far, 'up'), (far, near, 'down')):
                try:
                    source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                except OSError:
                    pass  # cut() was quicker: the pump notices
                threading.Thread(target=self._pump, args=(source, sink, name), daemon=True).start()

    def _flipped(self, data):
        at, self.flip = self.flip, self.flip - len(data)
        if at >= len(data):
            return data
        self.flip = None
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]

    def _pump(self, source, sink, name):
        try:
            while data := source.recv(1 << 16):
                if self.delay:
                    wait.pause(self.delay)
                self._flow.wait()
                if self.flip is not None and name == 'down':
                    data = self._flipped(data)
                self.passed += len(data)
                if self.recording:
                    getattr(self, name).extend(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            _reset(source)
            _reset(sink)


def _reset(s):
    try:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        s.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    s.close()
