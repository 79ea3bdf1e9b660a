"""`scripts/bench echo`: events per second for changes from another device, and how long after its close."""
import ctypes
import os
import select
import struct
import time

from bench_files import verdict

SAVES, FILES = 300, 4000
MODIFY, ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x4, 0x8, 0x40, 0x80, 0x100, 0x200
ALL = MODIFY | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE
OVERFLOW, NONBLOCK = 0x4000, 0o4000


class Inotify:
    """A watcher that does nothing but read."""

    def __init__(self, path):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(NONBLOCK)
        assert libc.inotify_add_watch(self.fd, os.fsencode(path), ALL) > 0

    def read(self, deadline):
        """The masks of what came, [] when nothing did."""
        if not select.select([self.fd], [], [], deadline)[0]:
            return []
        data, at, masks = os.read(self.fd, 1 << 20), 0, []
        while at < len(data):
            _, mask, _, size = struct.unpack_from('iIII', data, at)
            assert not mask & OVERFLOW, 'events were lost'
            masks.append(mask)
            at += 16 + size
        return masks

    def rate(self, wanted):
        """Events per second from the first of so many to the last."""
        first = last = None
        got = 0
        while got < wanted:
            masks = self.read(20)
            assert masks, f'only {got} events of {wanted}'
            last = time.monotonic()
            first = first or last
            got += len(masks)
        return got / max(last - first, 1e-9)


def delays(a, watch):
    """Seconds from close() on the other device to CLOSE_WRITE here, sorted."""
    seconds = []
    for k in range(SAVES):
        fd = os.open(a.path('c/r.json'), os.O_WRONLY | os.O_TRUNC)
        os.write(fd, b'{"n": %d}' % k)
        os.close(fd)
        start = time.monotonic()
        while not any(mask & CLOSE_WRITE for mask in watch.read(10)):
            pass
        seconds.append(time.monotonic() - start)
    return sorted(seconds)


def save(k):
    def one(a):
        a.path(f'c/{k}.json').write_text(f'{{"n": {time.monotonic_ns()}}}', encoding='utf-8')
    return one


def measure(directory):
    from blazetest import Cluster
    pair = Cluster(directory, 2)
    a, b = pair.nodes
    a.write('c/r.json', '{}')
    pair.synced()
    watch = Inotify(b.path('c'))
    result = {}
    try:
        seconds = delays(a, watch)
        result['delay_ms'] = {'p50': seconds[SAVES // 2] * 1e3, 'p99': seconds[SAVES * 99 // 100] * 1e3}
        verdict(result['delay_ms']['p50'] <= 2, f'close there to event here: p50 {result["delay_ms"]["p50"]:.2f} ms, '
                f'p99 {result["delay_ms"]["p99"]:.2f} ms', 'p50 at most 2 ms')
        for what, events, change in (
                ('create', 3, lambda k: save(k)(a)), ('modify', 2, lambda k: save(k)(a)),
                ('rename', 2, lambda k: os.rename(a.path(f'c/{k}.json'), a.path(f'c/m{k}.json')))):
            pair.cut()
            for k in range(FILES):
                change(k)
            pair.restore()
            result[what] = watch.rate(events * FILES)
            verdict(result[what] >= 10000, f'{what}: {result[what]:.0f} events/s', 'at least 10,000/s')
    finally:
        os.close(watch.fd)
        pair.discard()
    return result
