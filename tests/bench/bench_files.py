"""`scripts/bench files`: how much of a local file system a mount is.

Rounds are interleaved: each visits every file system in turn, each time beginning with another, so that what
else the machine does hits them alike. Rates count by their best batch and by their median, times by their least
and their median; a ratio reaches its aim when the best does. What the kernel answers by itself (stat, listings,
missing names, reading) is compared with ext4 in memory; what a program in user space has to answer, with
memfs.c, which does no more than that and keeps nothing.
"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from pathlib import Path

FILES, REPLACED, LARGE_MIB, COLD = 2000, 400, 16, 100000
WRITERS, FSYNCS = 32, 30
TREE_DIRS, TREE_FILES = 30, 100

RATES = {  # op: what it is called, the place beside which it counts, the least part of it
    'stat': ('stat, warm', 'ext4', 0.9),
    'list': ('readdir + stat, warm', 'ext4', 0.9),
    'missing': ('stat of missing names, warm', 'ext4', 0.9),
    'read': ('open + read + close, warm', 'ext4', 0.2),
    'noopen': ('the same with -o noopen', 'ext4', 0.6),
    'create': ('create + write + close', 'memfs', 0.75),
    'replace': ('write temporary + rename over', 'memfs', 0.75),
    'seqread': ('sequential read, warm', 'ext4', 0.3),
    'seqwrite': ('sequential write', 'memfs', 0.5),
    'fsync': (f'fsync, {WRITERS} writers', 'leveldb', 0.8),
}
TIMES = {  # op: what it is called; beside memfs, at most 1.3 times as long
    'tar': f'tar x of {TREE_DIRS * TREE_FILES} files',
    'clone': 'git clone',
    'rsync': 'rsync -a',
    'rm': 'rm -rf',
}
SLOWER_MAX, COLD_SECONDS_MAX, READ_BYTES_MIN = 1.3, 1.0, 3e9


def run(*argv, cwd=None):
    done = subprocess.run([str(a) for a in argv], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f'bench: {" ".join(map(str, argv))}: exit {done.returncode}\n{done.stderr}')
    return done.stdout


def rates_of(build, program, *argv):
    return json.loads(run(build / 'tests' / 'bench' / program, *argv))['rates']


def seconds_of(*argv, cwd=None):
    start = time.monotonic()
    run(*argv, cwd=cwd)
    return time.monotonic() - start


# ---- one visit -----------------------------------------------------------------------------------

def visit_noopen(build, here):
    """{op: rates} of the mount that opens nothing: it is there for this only."""
    rates_of(build, 'bench', 'create', here, FILES, 1)
    return {'noopen': rates_of(build, 'bench', 'read', here, FILES)}


def visit_rates(build, here, wanted):
    """{op: rates} of one place; the files that create makes serve the others."""
    small, large = here / 'small', here / 'large'
    small.mkdir()
    large.mkdir()
    got = {'create': rates_of(build, 'bench', 'create', small, FILES, 1)}
    for op in wanted & {'stat', 'read'}:
        got[op] = rates_of(build, 'bench', op, small, FILES)
    for op in wanted & {'list', 'missing'}:
        got[op] = rates_of(build, 'files', op, small, FILES)
    if 'replace' in wanted:
        got['replace'] = rates_of(build, 'files', 'replace', small, REPLACED)
    if wanted & {'seqread', 'seqwrite'}:
        got['seqwrite'] = rates_of(build, 'files', 'seqwrite', large, LARGE_MIB)
        got['seqread'] = rates_of(build, 'files', 'seqread', large, LARGE_MIB)
        (large / 'large.bin').unlink()
    return got


def visit_times(here, sources, wanted):
    """{op: [seconds]} of one place."""
    got = {}
    commands = {
        'tar': ('tar', '-xf', sources / 'tree.tar', '-C', here),
        'clone': ('git', 'clone', '-q', f'file://{sources / "repository"}', here / 'clone'),
        'rsync': ('rsync', '-a', f'{sources / "tree"}/', here / 'copy'),
    }
    for op, argv in commands.items():
        if op in wanted or (op == 'tar' and 'rm' in wanted):
            got[op] = [seconds_of(*argv)]
    if 'rm' in wanted:
        got['rm'] = [seconds_of('rm', '-rf', here / 'tree')]
    return got


def make_sources(sources):
    """A tree of small files, as a directory, a tar and a git repository."""
    tree = sources / 'tree'
    for d in range(TREE_DIRS):
        (tree / f'd{d:02}').mkdir(parents=True)
        for f in range(TREE_FILES):
            text = json.dumps({'n': f, 'dir': d, 'text': 'x' * 150}) + '\n'
            (tree / f'd{d:02}' / f'file{f:03}.json').write_text(text, encoding='utf-8')
    with tarfile.open(sources / 'tree.tar', 'w') as tar:
        tar.add(tree, 'tree')
    shutil.copytree(tree, sources / 'repository')
    git = ('git', '-c', 'user.name=bench', '-c', 'user.email=bench@example.org')
    for argv in (('init', '-q'), ('add', '.'), ('commit', '-qm', 'tree')):
        run(*git, *argv, cwd=sources / 'repository')


def visit(build, places, rounds, sources, wanted):
    got = {}
    names = list(places)
    for number in range(rounds):
        for name in names[number % len(names):] + names[:number % len(names)]:
            here = places[name] / f'round{number}'
            here.mkdir()
            if name == 'noopen':
                done = visit_noopen(build, here)
            else:
                done = visit_rates(build, here, wanted) if wanted & set(RATES) else {}
                done |= visit_times(here, sources, wanted)
            for op, values in done.items():
                got.setdefault(op, {}).setdefault(name, []).extend(values)
            shutil.rmtree(here)
        print(f'round {number + 1} of {rounds}', file=sys.stderr, flush=True)
    return got


def visit_fsync(build, directory, places, rounds):
    """Writers that wait for the disk: beside a LevelDB on the same disk as the database."""
    got = {'leveldb': [], 'blaze': []}
    (directory / 'leveldb').mkdir()
    (places['blaze'] / 'fsync').mkdir()
    for _ in range(rounds):
        got['leveldb'] += rates_of(build, 'files', 'leveldb', directory / 'leveldb', FSYNCS, WRITERS)
        got['blaze'] += rates_of(build, 'files', 'fsync', places['blaze'] / 'fsync', FSYNCS, WRITERS)
    return got


def visit_cold(build, directory):
    """Seconds of one listing with stat, the first ever after the mount."""
    from blazetest.node import Node
    node = Node(directory, 'cold').init()
    run(build / 'tests' / 'bench' / 'fill', node.home, node.database, COLD, COLD)
    node.mount()
    try:
        return COLD / rates_of(build, 'files', 'cold', node.mnt / 'd0000', COLD)[0]
    finally:
        node.discard()


# ---- the verdict ---------------------------------------------------------------------------------

def amount(op, value):
    if op in TIMES:
        return f'{value:.2f} s'
    if op.startswith('seq'):
        return f'{value / 1e9:.2f} GB/s'
    return f'{value / 1e3:.1f}k/s'


def table(got, names):
    print(f'\n{"best / median":32}' + ''.join(f'{name:>22}' for name in names))
    for op, by_place in got.items():
        title = RATES[op][0] if op in RATES else TIMES[op]
        best = min if op in TIMES else max
        cells = (f'{amount(op, best(by_place[n]))} / {amount(op, statistics.median(by_place[n]))}'
                 if n in by_place else '' for n in names)
        print(f'{title:32}' + ''.join(f'{cell:>22}' for cell in cells))
    print()


def verdict(reached, text, aim):
    print(f'{"ok   " if reached else "below"} {text} (aim: {aim})', flush=True)


def judge(op, by_place):
    if op in TIMES:
        title, beside, aim, best = TIMES[op], 'memfs', SLOWER_MAX, min
    else:
        (title, beside, aim), best = RATES[op], max
    if beside not in by_place:
        print(f'      {title}: no {beside} here')
        return
    mine, other = by_place['noopen' if op == 'noopen' else 'blaze'], by_place[beside]
    by_best = best(mine) / best(other)
    by_median = statistics.median(mine) / statistics.median(other)
    reached = by_best <= aim if op in TIMES else by_best >= aim
    if op == 'seqread':
        reached = reached or max(mine) >= READ_BYTES_MIN
    verdict(reached, f'{title}: {by_best:.2f} of {beside} by the best, {by_median:.2f} by the median',
            f'{"at most" if op in TIMES else "at least"} {aim}' + (' or 3 GB/s' if op == 'seqread' else ''))


def measure(build, directory, places, rounds, ops=None):
    wanted = set(ops or [*RATES, *TIMES, 'cold'])
    unknown = wanted - set(RATES) - set(TIMES) - {'cold'}
    if unknown:
        sys.exit(f'bench: no such operation: {", ".join(sorted(unknown))}')
    sources = Path(directory) / 'sources'
    sources.mkdir()
    make_sources(sources)
    if 'noopen' in wanted:
        wanted.add('read')
    else:
        places = {name: path for name, path in places.items() if name != 'noopen'}
    got = visit(build, places, rounds, sources, wanted - {'fsync', 'cold'})
    if 'noopen' in wanted and 'ext4' in places:
        got['noopen']['ext4'] = got['read']['ext4']
    if 'fsync' in wanted:
        got['fsync'] = visit_fsync(build, directory, places, rounds)
    got = {op: got[op] for op in [*RATES, *TIMES] if op in got and op in wanted}
    table(got, [*places, 'leveldb'] if 'fsync' in got else list(places))
    for op, by_place in got.items():
        judge(op, by_place)
    if 'cold' in wanted:
        seconds = visit_cold(build, directory)
        verdict(seconds <= COLD_SECONDS_MAX,
                f'readdir + stat of {COLD} entries, cold: {seconds:.2f} s', f'at most {COLD_SECONDS_MAX} s')
        got['cold'] = seconds
    print(f'load {os.getloadavg()[0]:.1f}')
    return got
