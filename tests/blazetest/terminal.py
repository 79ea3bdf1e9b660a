"""An interactive program in a terminal of its own."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios

from blazetest import wait

ESCAPES = re.compile(rb'\x1b(\[[0-9;?>]*[a-zA-Z]|[()][A-Z0-9]|\][^\x07]*\x07|[=>])')


class Terminal:
    """`with Terminal(['nano', 'file'], cwd=…, env=…) as t: t.type('text')`."""

    def __init__(self, argv, cwd, env):
        self.fd, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 200, 0, 0))
        self.process = subprocess.Popen(argv, cwd=cwd, env={**env, 'TERM': 'xterm'}, stdin=end, stdout=end,
                                        stderr=end, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(end)
        self.shown = b''

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.fd)

    def type(self, keys):
        """Types; what was shown before does not count for the next expect()."""
        self.shown = b''
        os.write(self.fd, keys.encode())
        return self

    def expect(self, text, deadline=10):
        """Waits until the program has shown this since the last keys, whatever else it shows."""
        end = wait.now() + deadline * wait.SCALE
        while text.encode() not in ESCAPES.sub(b'', self.shown):
            left = end - wait.now()
            assert left > 0 and self._read(left), f'{text!r} is not shown, but {self.shown!r}'
        return self

    def text(self):
        """What it has shown since the last keys, without colours and the like."""
        return ESCAPES.sub(b'', self.shown).decode(errors='replace')

    def ended(self, deadline=10):
        """Waits for the program's end: its exit code."""
        end = wait.now() + deadline * wait.SCALE
        while self._read(end - wait.now()):
            pass
        return self.process.wait(deadline * wait.SCALE)

    def _read(self, seconds):
        if seconds <= 0 or not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # the program has closed its side
            return False
        self.shown += data
        return bool(data)
