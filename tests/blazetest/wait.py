"""The only place with a clock. Everything that waits, waits here, for something, with a deadline."""
import os
import select
import time

# Sanitizers are slow: every deadline is multiplied.
SCALE = {'asan': 4, 'tsan': 8}.get(os.environ.get('BLAZE_PRESET', 'dev'), 1)


def now():
    return time.monotonic()


def wall():
    """The clock that files' times are taken from."""
    return time.time()


def eventually(predicate, deadline=10, what=None, every=0.01):
    """The predicate's first true value. Exceptions it raises count as false until the deadline."""
    end = now() + deadline * SCALE
    last = None
    while True:
        try:
            value = predicate()
            if value:
                return value
            last = f'last value {value!r}'
        except (OSError, ValueError, KeyError, AssertionError) as e:
            last = f'last error {e!r}'
        if now() > end:
            raise AssertionError(f'not within {deadline * SCALE:g} s: {what or predicate}; {last}')
        time.sleep(every)


def never(predicate, during=0.5, what=None):
    """Fails if the predicate becomes true within that time: for what must not happen."""
    end = now() + during
    while now() < end:
        assert not predicate(), f'happened: {what or predicate}'
        time.sleep(0.02)


def pause(seconds):
    """For what is slow or random by design: a delaying proxy, the moment of a kill."""
    time.sleep(seconds)


class LineReader:
    """Lines from a pipe, one after the other; an AssertionError when it ends or one takes too long."""

    def __init__(self, fd, what, size=65536):
        self.fd, self.what, self.size, self.data = fd, what, size, b''

    def line(self, deadline):
        end = now() + deadline * SCALE
        while b'\n' not in self.data:
            left = end - now()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError(f'{self.what}: no line within {deadline * SCALE:g} s, only {self.data!r}')
            chunk = os.read(self.fd, self.size)
            if not chunk:
                raise AssertionError(f'{self.what}: ended after {self.data!r}')
            self.data += chunk
        line, _, self.data = self.data.partition(b'\n')
        return line.decode() + '\n'


def read_line(fd, deadline, what):
    """One line, and nothing of what comes after it."""
    return LineReader(fd, what, size=1).line(deadline)


def in_fuse(pid):
    """Whether it sleeps in a request: root only. (Where it started and what it has open are not to be in a mount.)"""
    with open(f'/proc/{pid}/stack', encoding='utf-8') as f:
        return 'fuse' in f.read()
