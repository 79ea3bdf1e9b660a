"""`scripts/bench sync`: what an edit costs from one device to another, in time and in bytes.

Latency is measured from the call of close() on one device to the moment a loop of open+read+close on the other, in
the same process, sees the change, without anything in between; beside it, in the same run, what a message through
WebSockets costs alone (wshop.c). Bytes are those of the TCP streams, both ways together, counted by a proxy in
between. What other programs needed for the same was measured once, on a machine like this one, and is printed
beside as it was.
"""
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

from bench_files import verdict

from blazetest import wait

EDITS, HOPS, HOP_BYTES = 1000, 2000, 396
RECORDS, CHANGED, ONE_BY_ONE, IDLE_SECONDS = 10000, 1000, 50, 20
OTHERS = """\
                                        edit, p50  bytes    10,000 x 298 B     95 KB   1,000 of 10,000
  raw WebSocket relay                     0.63 ms    396
  Redis 7 replica                         0.47 ms    457   0.86 s   4.3 MB     262 B   6.0  s
  Yjs, y-websocket (not encrypted)        1.94 ms    288   3.9  s   4.0 MB     280 B   0.94 s     20.8 KB
  automerge-repo                         14    ms    671    53  s              727 B  11.2  s    134   KB
  PouchDB / CouchDB                      15.7  ms  13 KB   9.9  s   6.5 MB    108 KB   4.0  s   1.35   MB
  Unison                                510    ms  11 KB   9.1  s  18.7 MB
  Syncthing (tuned)                    1006    ms 1.2 KB  87 (12.9)  7.5 MB    101 KB  27.9 (4.1) s  771 KB"""


def record(n, field=0):
    """298 bytes of JSON, as an application might keep."""
    text = json.dumps({'id': f'rec-{n:06}', 'field': f'{field:08}', 'done': n % 2 == 0, 'tags': ['a', 'b'],
                       'owner': f'user{n % 97:03}@example.org', 'note': ''}, indent=1)
    return text[:-3] + f'{n:07} ' + 'lorem ipsum dolor '[:17] + 'x' * (298 - len(text) - 26) + '"\n}\n'


def hops(build):
    for how in ('direct', 'relay'):
        done = subprocess.run([build / 'tests' / 'bench' / 'wshop', how, str(HOPS), str(HOP_BYTES)],
                              capture_output=True, text=True, check=True)
        yield how, json.loads(done.stdout)


def edits(build, a, b):
    done = subprocess.run([build / 'tests' / 'bench' / 'bench', 'edit', a.path('live'), b.path('live'), str(EDITS)],
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def latency(build, directory):
    """Two devices that reach each other without anything in between."""
    from blazetest.cluster import Invitation
    from blazetest.node import Node
    a = Node(directory, 'near').init().mount(listen='127.0.0.1:0')
    b = Node(directory, 'far')
    try:
        with Invitation(a) as invitation:
            b.run('pair', '--name', 'far', invitation.link)
            invitation.accepted()
        b.mount()
        (a.mnt / 'live').mkdir()
        a.wait()
        return edits(build, a, b)
    finally:
        b.discard()
        a.discard()


class Meter:
    """Bytes and seconds from here to the moment when every change is everywhere, acknowledged."""

    def __init__(self, pair):
        self.a, self.proxy = pair.nodes[0], pair.proxy()
        self.bytes, self.start = self.proxy.passed, time.monotonic()

    def stop(self):
        self.a.wait('300s')
        self.seconds = time.monotonic() - self.start
        quiet = self.proxy.passed
        while True:  # acknowledgements of acknowledgements
            wait.pause(0.3)
            if self.proxy.passed == quiet:
                break
            quiet = self.proxy.passed
        self.bytes = quiet - self.bytes
        return self


def one_by_one(pair, path, contents):
    """Bytes of a change, if each is on the other device before the next is made."""
    a, b = pair.nodes
    a.write(path, contents[0])
    pair.synced()
    meter = Meter(pair)
    for content in contents[1:]:
        a.path(path).write_text(content, encoding='utf-8')
        a.wait('60s')
    return meter.stop().bytes / (len(contents) - 1)


def large(field):
    return json.dumps({'field': field, 'rows': [{'id': n, 'text': 'x' * 60, 'n': n * 7919} for n in range(1000)]}, indent=0)


def status_kib(node, key):
    status = Path(f'/proc/{node.process.pid}/status').read_text(encoding='ascii')
    return int(next(line for line in status.splitlines() if line.startswith(key)).split()[1])


def cpu_seconds(node):
    fields = Path(f'/proc/{node.process.pid}/stat').read_text(encoding='ascii').rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def offline(pair, change):
    """Runs change(node) for both while they are apart; the meter of their coming together."""
    pair.cut()
    change()
    meter = Meter(pair)
    pair.restore()
    meter.stop()
    pair.synced(deadline=300)
    return meter


def idle(pair):
    before = [cpu_seconds(n) for n in pair.nodes]
    passed = pair.proxy().passed
    wait.pause(IDLE_SECONDS)
    share = max(cpu_seconds(n) - c for n, c in zip(pair.nodes, before)) / IDLE_SECONDS
    return share * 100, (pair.proxy().passed - passed) / IDLE_SECONDS


def bulk(pair):
    a, b = pair.nodes
    a.path('c').mkdir()
    pair.synced()

    def create():
        for n in range(RECORDS):
            a.path(f'c/{n:05}.json').write_text(record(n), encoding='utf-8')

    def change():
        for n in range(0, RECORDS, RECORDS // CHANGED):
            a.path(f'c/{n:05}.json').write_text(record(n, n + 1), encoding='utf-8')

    def both():
        for k in range(100):
            a.path(f'c/{k:05}.json').write_text(record(k, 31), encoding='utf-8')
            b.path(f'c/{k + 200:05}.json').write_text(record(k + 200, 32), encoding='utf-8')

    return {'create': offline(pair, create), 'change': offline(pair, change),
            'nothing': offline(pair, lambda: None), 'heal': offline(pair, both)}


def measure(build, directory):
    from blazetest import Cluster
    result = {}
    for how, hop in hops(build):
        result[f'hop_{how}'] = hop
        print(f'      a WebSocket message of {HOP_BYTES} B, {how}: p50 {hop["p50_ms"]:.2f} ms, p99 {hop["p99_ms"]:.2f} ms')
    result['edit'] = r = latency(build, directory)
    verdict(r['p50_ms'] <= 0.8, f'one edit, file to file, direct: p50 {r["p50_ms"]:.2f} ms', 'at most 0.8 ms')
    verdict(r['p99_ms'] <= 3, f'  its p99: {r["p99_ms"]:.2f} ms', 'at most 3 ms')

    pair = Cluster(directory, 2)
    try:
        small = [record(1, k) for k in range(ONE_BY_ONE + 1)]
        result['edit_bytes'] = n = one_by_one(pair, 'small.json', small)
        verdict(n <= 280, f'one field of a record of 298 B: {n:.0f} B on the wire', 'at most 280 B')
        result['large_bytes'] = n = one_by_one(pair, 'large.json', [large(f'{k:08}') for k in range(ONE_BY_ONE + 1)])
        verdict(n <= 280, f'one field of a record of {len(large("00000000")) / 1000:.0f} KB: {n:.0f} B on the wire',
                'at most 280 B')
        m = bulk(pair)
        result |= {f'{k}_seconds': v.seconds for k, v in m.items()} | {f'{k}_bytes': v.bytes for k, v in m.items()}
        c, d, e, h = (m[k] for k in ('create', 'change', 'nothing', 'heal'))
        verdict(c.seconds <= 1.5, f'{RECORDS} new records of 298 B: {c.seconds:.2f} s', 'at most 1.5 s')
        verdict(c.bytes <= 2.2e6, f'  their bytes: {c.bytes / 1e6:.2f} MB', 'at most 2.2 MB')
        verdict(d.seconds <= 0.3, f'{CHANGED} of {RECORDS} changed offline: {d.seconds:.2f} s', 'at most 0.3 s')
        verdict(d.bytes <= 60e3, f'  their bytes: {d.bytes / 1e3:.1f} KB', 'at most 60 KB')
        verdict(e.bytes <= 1000, f'a connection anew, all in sync: {e.bytes} B', 'at most 1 KB')
        verdict(h.seconds <= 0.3, f'a healed partition, 100 changes on each side: {h.seconds:.2f} s', 'at most 0.3 s')
        result['rss_mb'] = rss = max(status_kib(n, 'VmRSS') for n in pair.nodes) / 1024
        anonymous = max(status_kib(n, 'RssAnon') for n in pair.nodes) / 1024
        verdict(rss <= 30, f'resident with {RECORDS} records: {rss:.1f} MB ({anonymous:.1f} MB of its own)', 'at most 30 MB')
        percent, rate = idle(pair)
        result |= {'idle_percent': percent, 'idle_bytes': rate}
        verdict(percent <= 0.05, f'idle: {percent:.2f} % of a processor', 'at most 0.05 %')
        verdict(rate <= 10, f'idle: {rate:.1f} B/s between the two', 'at most 10 B/s')
    finally:
        pair.discard()
    print(f'\n  Measured once, on a machine of this kind:\n{OTHERS}')
    return result


if __name__ == '__main__':
    print(len(record(7)), statistics.mean(len(record(n)) for n in range(1000)))
