"""`blaze watch` on a node, and what it prints."""
import json
import signal
import subprocess

from blazetest.wait import SCALE, LineReader


class Watching:
    """A with statement: begins when the first line says that it watches."""

    def __init__(self, node, *args):
        self.node, self.args = node, args or (node.database,)

    def __enter__(self):
        self.process = self.node.start('watch', *self.args)
        self.reader = LineReader(self.process.stdout.fileno(), '`blaze watch`')
        self.first = self.line()
        assert self.first['event'] == 'watching', self.first
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def line(self, deadline=10):
        told = json.loads(self.reader.line(deadline))
        assert told['v'] == 1 and told['time'].endswith('Z')
        return told

    def until(self, event, deadline=10, **fields):
        """All lines up to the first that is this event with these fields."""
        lines = []
        while not lines or lines[-1]['event'] != event or \
                any(lines[-1].get(k) != v for k, v in fields.items()):
            try:
                lines.append(self.line(deadline))
            except AssertionError as e:
                raise AssertionError(f'no {event} {fields}: {lines}') from e
        return lines

    def ended(self):
        """The exit code, and what was printed until then."""
        try:
            rest = self.reader.data.decode() + self.process.communicate(timeout=10 * SCALE)[0]
        except subprocess.TimeoutExpired:
            raise AssertionError('`blaze watch` goes on') from None
        return self.process.returncode, rest

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        return self.ended()
