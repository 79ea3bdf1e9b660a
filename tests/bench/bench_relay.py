"""`scripts/bench relay`: a relay with many devices, and how long it takes to do without one.

The load is that of relayload.c: 200 devices with real handshakes in one process, 50 changes a second in total, each to all.
Latency is from the PUT of one to the PUSH at another. It needs most of a core itself: on a machine that has other things to do
the numbers are about that machine. Failover is between two mounts whose only ways to each other are two relays. Frozen: two mounts
whose only way is one relay, which is stopped for a minute while programs go on working in both.
"""
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from bench_files import verdict

from blazetest import wait
from blazetest.cluster import Cluster
from blazetest.relay import Relay, relays_of, wait_idle

DEVICES, PER_SECOND, SECONDS, TRIES = 200, 50, 20, 5
FROZEN_SECONDS, FROZEN_EVERY, LARGE = 60, 0.05, 4 << 20


def kib(process, key):
    status = Path(f'/proc/{process.pid}/status').read_text(encoding='ascii')
    return int(next(line for line in status.splitlines() if line.startswith(key)).split()[1])


def cpu_seconds(process):
    fields = Path(f'/proc/{process.pid}/stat').read_text(encoding='ascii').rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def load(build, directory):
    relay = Relay(directory, 'load').start()
    keys = directory / 'keys'
    keys.mkdir()
    try:
        empty = kib(relay.process, 'VmRSS')
        done = subprocess.run([build / 'tests' / 'bench' / 'relayload', relay.address, keys, str(DEVICES), str(PER_SECOND),
                               str(SECONDS)], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        found |= {'rss_mib': kib(relay.process, 'VmHWM') / 1024, 'empty_mib': empty / 1024,
                  'cpu': cpu_seconds(relay.process) / found['seconds']}
        return found
    finally:
        relay.kill9()


def seen_after(writer, reader, path, text):
    """Seconds from a write here to its sight there."""
    start = time.monotonic()
    writer.write(path, text)
    wait.eventually(lambda: reader.exists(path) and reader.text(path) == text, 30, every=0.002)
    return time.monotonic() - start


def used_by(node, relays):
    return next(r for r in relays if r.shown in [i['address'] for i in relays_of(node) if i['used']])


def failover(directory):
    """Seconds: until a change is there when the relay that is used freezes or dies at that moment; until a dead one is back."""
    found = {'frozen': [], 'killed': [], 'back': []}
    relays = [Relay(directory, f'failover{i}').start() for i in range(2)]
    cluster = Cluster(directory, 2)
    a, b = cluster.nodes
    try:
        cluster.cut()
        for node in (a, b):
            for relay in relays:
                node.run('relay', 'add', relay.address, node.database)
        for n in range(TRIES):
            wait_idle(a, b, count=2, deadline=60)
            relay = used_by(a, relays)
            os.kill(relay.process.pid, signal.SIGSTOP)
            found['frozen'].append(seen_after(a, b, 'r.json', f'{{"frozen": {n}}}\n'))
            os.kill(relay.process.pid, signal.SIGCONT)
            wait_idle(a, b, count=2, deadline=60)
            relay = used_by(a, relays)
            relay.kill9()
            found['killed'].append(seen_after(a, b, 'r.json', f'{{"killed": {n}}}\n'))
            start = time.monotonic()
            relay.start()
            wait_idle(a, b, count=2, deadline=60)
            found['back'].append(time.monotonic() - start)
        return {key: max(values) for key, values in found.items()}
    finally:
        cluster.discard()
        for relay in relays:
            relay.kill9()


def save(path, text, sync=False):
    with open(path, 'w', encoding='ascii') as f:
        f.write(text)
        if sync:
            f.flush()
            os.fsync(f.fileno())


def replace(path, text):
    save(f'{path}.tmp', text)
    os.rename(f'{path}.tmp', path)


def operations(node, n):
    """(name, what to do) of one round; each leaves a record `kept/N.json`, but for every fourth, which the next one takes away."""
    kept, edited = node.path('kept'), node.path(f'edited-{node.name}.json')
    made = kept / f'made-{node.name}-{n}.json'
    yield 'mkdir', lambda: kept.mkdir(exist_ok=True)
    yield 'create', lambda: save(made, f'{{"n": {n}}}\n')
    yield 'read', made.read_text
    yield 'save', lambda: save(edited, f'{{"n": {n}}}\n')
    yield 'save and fsync', lambda: save(edited, f'{{"synced": {n}}}\n', sync=True)
    yield 'save by rename', lambda: replace(edited, f'{{"replaced": {n}}}\n')
    yield 'rename', lambda: made.rename(kept / f'{node.name}-{n}.json')
    yield 'readdir', lambda: os.listdir(kept)
    yield 'stat', edited.stat
    if n % 100 == 0:
        yield 'write 4 MiB', lambda: node.path(f'large-{node.name}.bin').write_bytes(os.urandom(LARGE))
    if n % 4 == 1:
        yield 'unlink', (kept / f'{node.name}-{n - 1}.json').unlink
    if n % 20 == 0:
        yield 'blaze status', lambda: node.run('status', node.database, code=None)


def work(nodes, seconds):
    """Rounds done, and the worst of each operation in seconds."""
    worst, n, end = {}, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for node in nodes:
            for name, run in operations(node, n):
                start = time.monotonic()
                run()
                worst[name] = max(worst.get(name, 0), time.monotonic() - start)
        n += 1
        wait.pause(FROZEN_EVERY)
    return n, worst


def frozen(directory):
    """What programs see of a relay that is stopped for a minute, and how long it takes until all is where it belongs afterwards."""
    relay = Relay(directory, 'frozen').start()
    cluster = Cluster(directory / 'frozen-devices', 2)
    a, b = cluster.nodes
    try:
        cluster.cut()
        for node in (a, b):
            node.run('relay', 'add', relay.address, node.database)
        wait_idle(a, b, deadline=60)
        os.kill(relay.process.pid, signal.SIGSTOP)
        try:
            rounds, worst = work((a, b), FROZEN_SECONDS)
            apart = a.tree_hash() != b.tree_hash()
        finally:
            os.kill(relay.process.pid, signal.SIGCONT)
        start = time.monotonic()
        wait.eventually(lambda: a.names('kept') == b.names('kept'), 60)
        wait_idle(a, b, deadline=60)
        for node in (a, b):
            node.wait('60s')
        wait.eventually(lambda: a.tree_hash() == b.tree_hash(), 60)
        kept = sorted(f'{node.name}-{n}.json' for node in (a, b) for n in range(rounds) if n % 4 or n == rounds - 1)
        return {'rounds': rounds, 'worst': worst, 'merged': time.monotonic() - start, 'was_apart': apart,
                'nothing_lost': a.names('kept') == kept}
    finally:
        cluster.discard()
        relay.kill9()


def measure(build, directory):
    found = load(build, directory)
    print(f'      {DEVICES} devices, {PER_SECOND} changes a second in total, each to all: {found["deliveries"]} deliveries, '
          f'p50 {found["p50_ms"]:.1f} ms, longest {found["max_ms"]:.1f} ms; receipts p99 {found["receipt_p99_ms"]:.1f} ms; '
          f'relay {100 * found["cpu"]:.0f} % of a processor')
    verdict(found['p99_ms'] <= 250, f'a relay with {DEVICES} devices: p99 {found["p99_ms"]:.1f} ms', 'at most 250 ms')
    verdict(found['rss_mib'] <= 64, f'  its memory: {found["rss_mib"]:.0f} MiB at most, {found["empty_mib"]:.0f} MiB empty',
            'at most 64 MiB')
    found['failover'] = times = failover(directory)
    for what in ('frozen', 'killed'):
        verdict(times[what] <= 2, f'the relay that is used is {what}: {times[what]:.2f} s until the other device has the change, '
                f'longest of {TRIES}', 'at most 2 s')
    print(f'      started again, both relays and devices hold the same after {times["back"]:.2f} s')
    found['stopped'] = stopped = frozen(directory)
    slowest = max(stopped['worst'], key=stopped['worst'].get)
    verdict(stopped['worst'][slowest] <= 1 and stopped['was_apart'],
            f'the only relay frozen for {FROZEN_SECONDS} s: worst local operation {stopped["worst"][slowest]:.3f} s ({slowest})',
            'at most 1 s')
    print('      ' + ', '.join(f'{name} {1000 * s:.0f} ms' for name, s in stopped['worst'].items()))
    verdict(stopped['nothing_lost'], f'  then the same on both after {stopped["merged"]:.2f} s, of {stopped["rounds"]} rounds',
            'nothing lost')
    return found
