"""`scripts/bench relay`: a relay with many devices, and how long it takes to do without one.

The load is that of relayload.c: 200 devices with real handshakes in one process, 50 changes a second in total, each to all.
Latency is from the PUT of one to the PUSH at another. It needs most of a core itself: on a machine that has other things to do
the numbers are about that machine. Failover is between two mounts whose only ways to each other are two relays.
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
    return found
