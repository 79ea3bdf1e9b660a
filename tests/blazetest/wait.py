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


def read_line(fd, deadline, what):
    """One line from a pipe; an AssertionError when it ends or takes too long."""
    end, data = now() + deadline * SCALE, b''
    while not data.endswith(b'\n'):
        left = end - now()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            raise AssertionError(f'{what}: no line within {deadline * SCALE:g} s, only {data!r}')
        chunk = os.read(fd, 1)
        if not chunk:
            raise AssertionError(f'{what}: ended after {data!r}')
        data += chunk
    return data.decode()


def in_fuse(pid):
    """Whether it sleeps in a request: root only. (Where it started and what it has open are not to be in a mount.)"""
    with open(f'/proc/{pid}/stack', encoding='utf-8') as f:
        return 'fuse' in f.read()
