"""`scripts/bench crdt`: text and JSON fields beside Yjs, Automerge, Loro, json-joy and diamond-types, in one run.

The peers are installed from npm into build/crdt-peers; without npm they are left out. crdt/peers.mjs says what each
workload is, text.c and fields.c how Blaze's side is measured. What is too slow is ended: a phase of a workload after
some seconds, and its figure is then that of the part that was done, or scaled up from it; a workload after PEER_S, or
when all together take longer than TOTAL_S; its figures are then only known to be above.
"""
import gzip
import json
import shutil
import subprocess
import time
from pathlib import Path

from bench_files import verdict

HERE = Path(__file__).resolve().parent / 'crdt'
PEERS = ['json-joy', 'diamond-types', 'yjs', 'loro', 'automerge']  # the slowest last
TEXT_ONLY = ['diamond-types']
FULL_HISTORY = ['automerge', 'loro', 'diamond-types']  # the others forget what was deleted
WORKLOADS = ['type', 'live', 'fields', 'merge', 'saves']
PEER_S, LIMIT_MS, TOTAL_S = 45, 4000, 280
TRACES = {  # and what text.c measures with it
    'automerge-paper': ['each_us', 'update_bytes', 'load_ms', 'history_bytes'],
    'friendsforever': ['merge_ms']}
ROWS = [  # what, unit, workload and key of the peers, key of ours, aim
    ('typing, each keystroke a change', 'µs', 'type', 'each_us', 'each_us', 0.5),
    ('  its size', 'bytes', 'type', 'update_bytes', 'update_bytes', 16),
    ('  loading the text', 'ms', 'type', 'load_ms', 'load_ms', 0.3),
    ('  the whole history', 'bytes', 'type', 'history_bytes', 'history_bytes', 110000),
    ('two live typists, merged one by one', 'ms', 'live', 'merge_ms', 'merge_ms', 25),
    ('an edit of a field, in memory', 'µs', 'fields', 'each_us', 'edit_us', 3),
    ('  its size, each by itself', 'bytes', 'fields', 'update_bytes', 'plain_bytes', None),
    ('  its size, 256 in an envelope', 'bytes', None, None, 'batch_bytes', 31),
    ('  sealed, 256 in an envelope', 'bytes', None, None, 'sealed_bytes', 47),
    ('  sealed, each by itself', 'bytes', None, None, 'alone_bytes', None),
    ('  sealed, as it is kept in the end', 'bytes', None, None, 'stratum_bytes', None),
    ('  with LevelDB', 'µs', None, None, 'db_us', 20),
    ('  and made durable', 'µs', None, None, 'synced_us', None),
    ('50,000 remote edits of fields, one by one', 'ms', 'merge', 'one_by_one_ms', 'merge_ms_fields', 150),
    ('  in one batch', 'ms', 'merge', 'batch_ms', None, None),
    ('  through the database', 'ms', None, None, 'db_merge_ms', None),
    ('a whole-file save, in memory', 'µs', 'saves', 'each_us', 'save_us', None),
    ('  with LevelDB', 'µs', None, None, 'db_us', 35),
]


def program(build, name, *argv, **options):
    done = subprocess.run([str(build / 'tests' / 'bench' / name), *map(str, argv)], check=True,
                          stdout=subprocess.PIPE, **options)
    return json.loads(done.stdout)


def ours(build, directory, rounds):
    """The best of some rounds, figure by figure."""
    best = {}
    for number in range(rounds):
        found = {}
        for trace, keys in TRACES.items():
            text = gzip.decompress((HERE / 'traces' / f'{trace}.json.gz').read_bytes())
            figures = program(build, 'text', '-', input=text)
            found |= {key: figures[key] for key in keys}
        place = directory / f'fields{number}'
        fields = program(build, 'fields', place)
        shutil.rmtree(place)
        fields['merge_ms_fields'] = fields.pop('merge_ms')
        found |= fields
        for key, value in found.items():
            if isinstance(value, (int, float)):
                best[key] = min(value, best.get(key, value))
    return best


def install(cache):
    """The directory with the libraries, or None."""
    if not shutil.which('npm') or not shutil.which('node'):
        print('(no npm: without the others)')
        return None
    cache.mkdir(parents=True, exist_ok=True)
    wanted = (HERE / 'package.json').read_text(encoding='utf-8')
    marker = cache / 'installed.json'
    if not marker.exists() or marker.read_text(encoding='utf-8') != wanted:
        (cache / 'package.json').write_text(wanted, encoding='utf-8')
        subprocess.run(['npm', 'install', '--no-audit', '--no-fund', '--ignore-scripts', '--silent'],
                       cwd=cache, check=True)
        marker.write_text(wanted, encoding='utf-8')
    return cache


def peer(modules, library, workload, seconds, limit_ms):
    """Its figures; {'over_s': seconds} if it took longer."""
    if seconds < 1:
        return {'over_s': 0}
    try:
        done = subprocess.run(['node', '--expose-gc', str(HERE / 'peers.mjs'), library, workload, str(modules),
                               str(limit_ms)], capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {'over_s': seconds}
    if done.returncode:
        print(f'{library}, {workload}: failed: {done.stderr.strip()[-300:]}')
        return {}
    return json.loads(done.stdout.strip().split('\n')[-1])


def peers(modules, end):
    """All libraries. What is left of the time is shared out among what is left to do."""
    todo = [(name, w) for name in PEERS for w in WORKLOADS
            if name not in TEXT_ONLY or w in ('type', 'live')]
    found = {name: {} for name in PEERS}
    for n, (name, workload) in enumerate(todo):
        left = end - time.monotonic()
        limit_ms = max(500, min(LIMIT_MS, int(left * 1000 / (len(todo) - n) / 3)))
        print(f'{name}: {workload} …', flush=True)
        found[name][workload] = peer(modules, name, workload, min(PEER_S, left), limit_ms)
    return found


def cell(found, key):
    if not found or key is None:
        return ''
    if 'over_s' in found:
        return f'> {found["over_s"]:.0f} s' if found['over_s'] else 'no time'
    if found.get(key) is None:
        return ''
    if found.get('part', 1) >= 1 or key in ('load_ms', 'history_bytes'):
        return number(found[key])
    if key.endswith('_ms'):
        return f'~{number(found[key] / found["part"])}'
    return f'{number(found[key])}*'


def number(value):
    return f'{value:,.0f}' if value >= 100 else f'{value:.1f}' if value >= 10 else f'{value:.2f}'


def table(mine, others):
    print(f'\n{"":44}{"blaze":>10}{"aim":>10}' + ''.join(f'{name:>14}' for name in others))
    for what, unit, workload, theirs, key, aim in ROWS:
        print(f'{what + ", " + unit:44}{number(mine[key]) if key else "":>10}'
              f'{"" if aim is None else number(aim):>10}'
              + ''.join(f'{cell(found.get(workload), theirs):>14}' for found in others.values()))
    if others:
        print('* of the part that was done in a few seconds; ~ scaled up from it, as if each took as long. Done were: '
              + ', '.join(f'{n} {w} {100 * f["part"]:.2g} %' for n, found in others.items()
                          for w, f in found.items() if f.get('part', 1) < 1) + '.')
        print('Of the others, only ' + ', '.join(n for n in others if n in FULL_HISTORY)
              + ' keep the whole history.')


def measure(build, directory, rounds, with_peers, cache):
    """Prints the table and the verdicts, returns the numbers."""
    modules = install(cache) if with_peers else None
    end = time.monotonic() + TOTAL_S
    mine = ours(build, Path(directory), rounds)
    others = peers(modules, end) if modules else {}
    table(mine, others)
    print()
    for what, unit, _, _, key, aim in ROWS:
        if aim is not None:
            verdict(mine[key] <= aim, f'{what.strip()}: {number(mine[key])} {unit}', f'at most {number(aim)}')
    speeds = {n: f['type']['each_us'] for n, f in others.items() if f.get('type', {}).get('each_us')}
    if speeds:
        fastest = min(speeds, key=speeds.get)
        ratio = speeds[fastest] / mine['each_us']
        verdict(ratio >= 3, f'typing: {ratio:.1f} times as fast as {fastest}', 'at least 3 times the fastest')
    return {'blaze': mine, 'peers': others}
