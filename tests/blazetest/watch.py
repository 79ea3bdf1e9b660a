"""Programs that watch a directory: what events did they get?"""
import os
import subprocess
import tempfile

from blazetest.wait import SCALE, eventually, read_line

INTERESTING = 'create,modify,close_write,delete,moved_from,moved_to,attrib,delete_self,move_self'


class Output:
    """What a program says, read while it says it: two descriptors, for one would share its offset."""

    def __init__(self):
        fd, path = tempfile.mkstemp(prefix='blaze-said-')
        self._read = os.fdopen(fd, encoding='utf-8', errors='replace')
        self.write = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        os.unlink(path)
        self._start = 0

    def text(self):
        self._read.seek(self._start)
        return self._read.read()

    def forget(self):
        self._start = os.fstat(self.write).st_size

    def close(self):
        os.close(self.write)
        self._read.close()


class Watch:
    """inotifywait on paths; use it with `with`."""

    def __init__(self, *paths, events=INTERESTING, recursive=False):
        options = ['-m'] + (['-r'] if recursive else [])
        for event in events.split(','):
            options += ['-e', event]
        self._base = str(paths[0])
        self._out = Output()
        self._tool = subprocess.Popen(['inotifywait', *options, '--format', '%w%f %e', *map(str, paths)],
                                      stdout=self._out.write, stderr=subprocess.PIPE)
        while 'established' not in read_line(self._tool.stderr.fileno(), 10, 'inotifywait'):
            pass

    def events(self):
        """'EVENT path' of each event so far; paths from the first path given."""
        lines = [line.rpartition(' ') for line in self._out.text().splitlines()]
        # One without a path says that events were lost: whoever watches looks at everything then.
        return [f'{what.removesuffix(",CLOSE")} {os.path.relpath(path, self._base)}'
                for path, _, what in lines if path]

    def expect(self, *wanted):
        """Exactly these, in this order."""
        wanted = list(wanted)
        try:
            eventually(lambda: len(self.events()) >= len(wanted), 10)
        finally:
            got = self.events()
            assert got == wanted, f'{got}, not {wanted}'

    def sees(self, event):
        return eventually(lambda: event in self.events(), 10, event)

    def forget(self):
        """Begins anew."""
        self._out.forget()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._tool.kill()
        self._tool.wait(10 * SCALE)
        self._tool.stderr.close()
        self._out.close()


class Program:
    """Any program that prints when something happens."""

    def __init__(self, argv, ready=None, **kw):
        self.out = Output()
        self.process = subprocess.Popen([*map(str, argv)], stdout=self.out.write, stderr=subprocess.STDOUT,
                                        start_new_session=True, **kw)
        if ready:
            self.says(ready)

    def text(self):
        return self.out.text()

    def says(self, text):
        return eventually(lambda: text in self.text(), 10, f'{self.process.args[0]} says {text!r}')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(10 * SCALE)
        self.out.close()
