"""`scripts/bench million`: a database of a million records: mount, listing, find, and what stays in memory."""
import subprocess
import time

from bench_files import rates_of, run, verdict

DIRECTORY = 100000


def resident_mb(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as status:
        line = next(line for line in status if line.startswith('VmRSS'))
    return int(line.split()[1]) / 1024


def timed(*argv):
    start = time.monotonic()
    with subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, text=True) as process:
        lines = sum(1 for _ in process.stdout)
    return lines, time.monotonic() - start


def measure(build, directory, records):
    from blazetest.node import Node
    node = Node(directory, 'many').init()
    rate = rates_of(build, 'fill', node.home, node.database, records, DIRECTORY)[0]
    print(f'{records} records in directories of {DIRECTORY}, made at {rate:.0f}/s, '
          f'{int(run("du", "-sm", node.home).split()[0])} MB', flush=True)
    result = {}
    try:
        start = time.monotonic()
        node.mount()
        result['mount_seconds'] = time.monotonic() - start
        verdict(result['mount_seconds'] <= 0.3,
                f'mount: {result["mount_seconds"] * 1e3:.0f} ms', 'at most 300 ms')
        entries = min(records, DIRECTORY)
        lines, seconds = timed('ls', '-U', node.mnt / 'd0000')
        assert lines == entries, lines
        result['ls_seconds'] = seconds
        print(f'      ls of {entries} entries, cold: {seconds:.2f} s')
        lines, seconds = timed('find', node.mnt, '-size', '+0', '-type', 'f', '-not', '-path', '*/.blaze/*')
        assert lines == records, lines
        result['find_seconds'] = seconds
        result['resident_mb'] = resident_mb(node.process.pid)
        print(f'      find with stat: {seconds:.1f} s')
        verdict(result['resident_mb'] <= 200,
                f'resident after it: {result["resident_mb"]:.0f} MB', 'at most 200 MB')
    finally:
        node.discard()
    return result
