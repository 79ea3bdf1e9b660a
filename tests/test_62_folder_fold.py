"""What is old becomes small in a folder, too: strata take the place of envelopes, and nobody ever gets less than all."""
import random
import shutil

import pytest

from blazetest import Node
from blazetest.cluster import Invitation
from blazetest.folder import Cloud, folders_of, segments, use, wait_written
from blazetest.proxy import Proxy
from blazetest.wait import eventually, never

WRITES = 32
WRITTEN = WRITES * 90_000  # bytes that these are, at least
FOLDED = WRITES * 75_000  # and at most, once most of them are in strata


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Node takes it from here. What is in a stratum goes after 150 pauses."""
    monkeypatch.setenv('BLAZE_FOLDER_PAUSE_MS', '10')


@pytest.fixture
def apart(pair, directory):
    """Two paired devices whose only way to each other is a directory that both have."""
    pair.cut()
    for node in pair.nodes:
        use(node, directory / 'shared')
    wait_written(*pair.nodes)
    return pair


@pytest.fixture
def others(directory):
    """Nodes that a test makes itself."""
    made = []
    yield made
    try:
        for node in made:
            node.close()
    finally:
        for node in made:
            node.discard()


def big(seed):
    """100 kB that do not repeat: ten of them fill a stratum."""
    return random.Random(seed).randbytes(50_000).hex()


def rewrite(node, path, times=WRITES):
    """Each is an envelope of its own."""
    for n in range(times):
        node.write(path, big(n))
        wait_written(node)
    return big(times - 1)


def size(shared, writer=None):
    """Of all that one has written, or all have."""
    return sum(p.stat().st_size for p in segments(shared) if not writer or f'/w/{writer}/' in str(p))


def is_folded(shared):
    return eventually(lambda: size(shared) < FOLDED, 60, 'less is there')


def rewritten(a, b, shared):
    """a's, until b has it and a knows; a packs by itself when it has time, and b need not."""
    last = rewrite(a, 'big.txt')
    a.wait('40s')
    assert b.text('big.txt') == last
    a.run('compact', a.database)
    return last


class Once(Proxy):
    """Lets one connection through: who pairs gets in, and then nothing more."""

    def __init__(self, target):
        super().__init__(target)
        answers = iter([True])
        self._open.is_set = lambda: next(answers, False)


def join_without_content(a, directory, others):
    """A new device, which has to get all from somewhere else."""
    proxy, node = Once(a.listen), Node(directory, 'new')
    others.append(node)
    node.preload.append('redirect')
    rule = node.directory / 'redirect'
    node.env['REDIRECT_RULE'] = str(rule)
    rule.write_text(' '.join(x.rsplit(':', 1)[1] for x in (a.listen, proxy.address)) + '\n')
    with Invitation(a) as invitation:
        process = node.start('pair', '--name', 'device-new', invitation.link)
        invitation.accepted()
    while 'Paired' not in (line := process.stdout.readline()):
        assert line, 'it did not pair'
    process.kill()
    process.wait()
    process.stdout.close()
    return node.mount(listen='none')


def gets_all(node, shared, last, count=WRITES):
    assert not node.exists('big.txt')
    use(node, shared)
    eventually(lambda: node.exists('big.txt') and node.text('big.txt') == last, 40, f'{node.name} gets all')
    eventually(lambda: len(node.log('big.txt')) == count, 40)
    return node


def test_old_envelopes_go_and_history_stays_for_all_and_for_who_comes_later(apart, directory, others):
    a, b = apart.nodes
    shared = directory / 'shared'
    last = rewritten(a, b, shared)
    is_folded(shared)
    wait_written(a, b)
    assert len(a.log('big.txt')) == len(b.log('big.txt')) == WRITES
    assert folders_of(a)[0]['lost'] == folders_of(b)[0]['lost'] == 0
    gets_all(join_without_content(a, directory, others), shared, last)
    a.write('after.json', '{"n":1}')
    eventually(lambda: all(n.exists('after.json') for n in (b, *others)), 20)
    assert folders_of(a)[0]['lost'] == folders_of(b)[0]['lost'] == 0


def test_two_writers_keep_to_their_own(apart, directory):
    a, b = apart.nodes
    shared = directory / 'shared'
    rewritten(a, b, shared)
    rewrite(b, 'other.txt')
    b.wait('40s')
    b.run('compact', b.database)
    eventually(lambda: size(shared) < 2 * FOLDED, 60)
    wait_written(a, b)
    assert a.tree() == b.tree() and len(a.log('other.txt')) == len(b.log('big.txt')) == WRITES
    assert folders_of(a)[0]['lost'] == folders_of(b)[0]['lost'] == 0


def test_nothing_goes_while_a_member_is_behind(clusters, directory):
    three = clusters(3)
    a, b, c = three.nodes
    shared = directory / 'shared'
    for node in three.nodes:
        use(node, shared)
    wait_written(*three.nodes)
    three.cut()
    c.stop()
    last = rewrite(a, 'big.txt')
    eventually(lambda: b.text('big.txt') == last, 20)
    wait_written(a, b)
    a.run('compact', a.database)
    assert size(shared) > WRITTEN
    never(lambda: size(shared) < WRITTEN, 4)
    c.mount()
    eventually(lambda: c.exists('big.txt') and c.text('big.txt') == last, 40)
    a.wait('40s')
    a.run('compact', a.database)
    is_folded(shared)
    assert len(c.log('big.txt')) == WRITES


def test_killed_in_between_it_is_done_again(apart, directory, others):
    a, b = apart.nodes
    shared = directory / 'shared'
    last = rewritten(a, b, shared)
    files = set(segments(shared))
    for _ in range(3):
        eventually(lambda: set(segments(shared)) != files or size(shared) < FOLDED, 60, 'something was written or went')
        a.kill9()
        a.mount(listen='127.0.0.1:0')
        files = set(segments(shared))
    a.write('more.json', '{}')
    is_folded(shared)
    gets_all(join_without_content(a, directory, others), shared, last)
    assert folders_of(a)[0]['odd'] == 0


def test_conflict_copies_harm_nobody(apart, directory, others):
    a, b = apart.nodes
    shared = directory / 'shared'
    last = rewrite(a, 'big.txt')
    a.wait('40s')
    for path in segments(shared):
        shutil.copy(path, path.with_name(f'{path.stem} (conflicted copy of b).blz'))
    a.run('compact', a.database)
    eventually(lambda: size(shared) < 2 * FOLDED, 60, 'the copies went, too')
    for path in segments(shared):
        shutil.copy(path, path.with_name(f'{path.stem} 2.blz'))
        path.unlink()
    wait_written(a, b)
    gets_all(join_without_content(a, directory, others), shared, last)


def test_stratum_that_is_lost_or_damaged_is_written_again(apart, directory, others):
    a, b = apart.nodes
    shared = directory / 'shared'
    last = rewritten(a, b, shared)
    is_folded(shared)
    wait_written(a, b)
    largest = max(segments(shared), key=lambda p: p.stat().st_size)
    content = largest.read_bytes()
    largest.unlink()
    eventually(lambda: folders_of(a)[0]['lost'] == 1, 20)
    wait_written(a, b)
    largest.write_bytes(content[:len(content) // 2])  # and comes back, not whole
    gets_all(join_without_content(a, directory, others), shared, last)


def test_cloud_that_carries_the_end_before_the_beginning(pair, directory, others):
    """What went is gone from a copy long before what takes its place is there, and whole: its reader waits, and nobody writes again."""
    a, b = pair.nodes
    pair.cut()
    cloud = Cloud(directory)
    for node in (a, b):
        use(node, cloud.copies[node.name])
    last = rewrite(a, 'big.txt')
    eventually(lambda: cloud.carry_all() or (b.exists('big.txt') and b.text('big.txt') == last), 40)
    eventually(lambda: cloud.carry_all() or a.status()['state'] == 'synced', 40)
    a.run('compact', a.database)
    mine = cloud.copies['a']
    is_folded(mine)
    there = directory / 'late'
    there.mkdir()
    cloud.copies['late'] = there
    cloud.carry('a', 'late', lambda name, data: None if len(data) > 500_000 else data)
    cloud.carry('a', 'late', lambda name, data: data[:70_000] if len(data) > 500_000 else data)
    new = join_without_content(a, directory, others)
    use(new, there)
    never(lambda: new.exists('big.txt') and new.text('big.txt') != last and len(new.log('big.txt')) > WRITES, 1)
    for path in segments(mine):
        (there / path.relative_to(mine)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, there / path.relative_to(mine))
    eventually(lambda: new.exists('big.txt') and new.text('big.txt') == last, 40)
    assert len(new.log('big.txt')) == WRITES
