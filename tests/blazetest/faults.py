"""The libraries of tests/faults that follow a rule: each call, or each reply, looks at it anew."""
import contextlib

from blazetest.wait import eventually


class Fault:
    """To be made before the node is mounted, or mounted again."""

    def __init__(self, node, library):
        node.preload.append(library)
        self.rule = node.directory / f'{library}.rule'
        self.log = node.directory / f'{library}.log'
        node.env[f'{library.upper()}_RULE'] = str(self.rule)
        node.env[f'{library.upper()}_LOG'] = str(self.log)

    def set(self, rule):
        self.rule.with_suffix('.new').write_text(rule)
        self.rule.with_suffix('.new').rename(self.rule)

    def clear(self):
        self.rule.unlink(missing_ok=True)

    def switch(self, rule):
        """A function that turns this rule on and off."""
        return lambda on: self.set(rule) if on else self.clear()


class Gate(Fault):
    """What a daemon says to the kernel, held back at will (faults/gate.c)."""

    LOOKUP, SETATTR, RENAME, RMDIR, CREATE = 1, 4, 12, 11, 35

    def __init__(self, node):
        super().__init__(node, 'gate')

    @contextlib.contextmanager
    def held(self, rule):
        """Begins when the rule is set, not when something is held: see waits()."""
        self.log.write_text('')
        self.set(rule)
        try:
            yield self
        finally:
            self.clear()

    def waits(self):
        """Until something is held."""
        eventually(lambda: any(line.startswith(('reply', 'notify')) for line in self._lines()), 20, 'it is held')

    def tells(self):
        """Until the kernel was told of something, or has the daemon wait for the answer that is held."""
        eventually(lambda: any(line.startswith(('sent', 'sends 3')) for line in self._lines()), 20, 'the kernel is told')

    def _lines(self):
        return self.log.read_text().splitlines()
