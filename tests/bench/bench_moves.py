"""`scripts/bench moves`: directories moved on two devices at the same time, and how long taking that in is."""
import json
import os
import subprocess
import time
from pathlib import Path

from bench_files import verdict

CORE, MOUNTED = 50000, 5000


def program(build, *argv):
    done = subprocess.run([str(build / 'tests' / 'bench' / 'moves'), *map(str, argv)],
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def rename_all(node, prefix):
    for k in range(MOUNTED):
        os.rename(node.path(f'c/d{k}'), node.path(f'c/{prefix}{k}'))


def mounted(directory):
    """Seconds until two mounts that renamed the same directories show the same names."""
    from blazetest.cluster import Cluster
    pair = Cluster(directory, 2)
    try:
        a, b = pair.nodes
        for k in range(MOUNTED):
            os.makedirs(a.path(f'c/d{k}/inside'))
        a.wait()
        pair.cut()
        rename_all(a, 'a')
        rename_all(b, 'b')
        start = time.monotonic()
        pair.restore()
        a.wait()
        b.wait()
        seconds = time.monotonic() - start
        assert sorted(os.listdir(a.path('c'))) == sorted(os.listdir(b.path('c')))
        return seconds
    finally:
        pair.discard()


def measure(build, directory):
    """Prints the table, returns the numbers."""
    core = Path(directory) / 'core'
    core.mkdir()
    bare = min((program(build, 'bare', CORE) for _ in range(3)), key=lambda r: r['merge_ms'])
    both = program(build, 'core', core, CORE)
    seconds = mounted(directory)
    print(f'\n{CORE:,} + {CORE:,} random moves made at the same time: {bare["merge_ms"]:.0f} ms in memory, '
          f'{bare["nodes_with_skips"]} directories with refused cycles; through two databases '
          f'{both["merge_ms"]:.0f} ms, both ways (making them: {both["make_ms"]:.0f} ms)')
    print(f'{MOUNTED:,} + {MOUNTED:,} renames of the same directories, two mounts: {seconds:.1f} s')
    verdict(bare['merge_ms'] <= 100,
            f'{2 * CORE:,} concurrent moves of the bare tree: {bare["merge_ms"]:.0f} ms', 'at most 100 ms')
    return {'bare': bare, 'core': both, 'mounted_s': seconds}
