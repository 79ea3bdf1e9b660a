"""Pieces of large files that nothing needs: what is removed, what stays, whoever is killed meanwhile."""
import hashlib
import os
import random

import pytest

from blazetest.wait import eventually

MIB = 1 << 20
KILLS = int(os.environ.get('BLAZE_COLLECT_KILLS', '8'))


def pattern(size, seed):
    return random.Random(seed).randbytes(size)


def packed(node):
    return sum(p.stat().st_size for p in (node.home / node.database / 'chunks').iterdir())


def settle(node):
    """No file waits to be cut into chunks, and no old one to be removed."""
    eventually(lambda: not [p for p in (node.home / node.database / 'files').rglob('*') if p.is_file()],
               30, 'imported')


def versions(node, path, count, size, start=0):
    for i in range(start, start + count):
        node.write(path, pattern(size, i))
        settle(node)
    return pattern(size, start + count - 1)


def compact(node, *options):
    return node.json('compact', *options, node.database)


def digests(node, *paths):
    return [hashlib.sha256(node.read(p)).hexdigest() for p in paths]


def test_history_of_large_files_stays(node):
    last = versions(node, 'f.bin', 3, 2 * MIB)
    stats = compact(node)
    assert stats['unused_pieces'] == 0 and packed(node) > 6 * MIB
    node.run('restore', node.path('f.bin'), '--rev', node.log('f.bin')[0]['rev'])
    assert node.read('f.bin') == pattern(2 * MIB, 0)
    node.run('undo', node.path('f.bin'))
    assert node.read('f.bin') == last


def leave_pieces(node):
    """Saves that are overtaken while they are imported: more than 16 MiB that no version names."""
    for k in range(10):
        before = packed(node)
        node.write('big.bin', pattern(96 * MIB, k))
        eventually(lambda b=before: packed(node) > b + 20 * MIB, 30, 'some of it is imported')
        node.write('big.bin', b'overtaken')
        settle(node)
        if compact(node, '--dry-run')['unused_bytes'] > 17 * MIB:
            return
    raise AssertionError('imports are quicker than saves')


def test_a_mount_collects_by_itself_and_keeps_history(node):
    last = versions(node, 'f.bin', 3, 2 * MIB)
    leave_pieces(node)
    node.env['BLAZE_COLLECT_MS'] = '20'
    node.remount()
    eventually(lambda: compact(node, '--dry-run')['unused_pieces'] == 0, 60, 'what nobody needs is gone')
    for k, entry in enumerate(node.log('f.bin')):
        node.run('restore', node.path('f.bin'), '--rev', entry['rev'])
        assert node.read('f.bin') == pattern(2 * MIB, k)
    assert node.read('f.bin') == last


def test_files_saved_while_a_mount_collects_are_whole(pair):
    a, b = pair.nodes
    a.env['BLAZE_COLLECT_MS'] = b.env['BLAZE_COLLECT_MS'] = '1'
    a.remount(), b.remount()
    for k in range(8):  # some are overtaken, some are imported, and what was before them is looked through meanwhile
        a.write(f'{k % 2}.bin', pattern(17 * MIB, k))
        if k % 3 == 0:
            settle(a)
    pair.synced(deadline=60)
    for node in pair.nodes:
        assert [node.read(f'{k}.bin') for k in range(2)] == [pattern(17 * MIB, 6), pattern(17 * MIB, 7)]


def test_files_that_stay_here_leave_nothing_behind(node):
    versions(node, 'f.bin', 1, 2 * MIB)
    node.path('x.tmp').write_bytes(pattern(4 * MIB, 7))
    node.path('keep.tmp').write_bytes(pattern(3 * MIB, 8))
    node.sh('mv f.bin f.tmp && echo >> f.tmp')
    before = digests(node, 'f.tmp', 'keep.tmp')
    node.path('x.tmp').unlink()
    for _ in range(2):
        compact(node)
        assert digests(node, 'f.tmp', 'keep.tmp') == before
        node.remount()
    assert digests(node, 'f.tmp', 'keep.tmp') == before


def test_versions_given_up_make_room_and_the_history_says_so(node):
    last = versions(node, 'f.bin', 4, 2 * MIB)
    node.write('other.bin', pattern(2 * MIB, 1))  # shares the second version's pieces
    settle(node)
    compact(node)
    dry = compact(node, '--dry-run', '--drop-before', 'now')
    assert dry['dropped_versions'] == 3 and dry['unused_bytes'] >= 4 * MIB and packed(node) > 8 * MIB
    stats = compact(node, '--drop-before', 'now')
    assert stats['dropped_versions'] == 3 and stats['freed_bytes'] >= 4 * MIB and packed(node) < 5 * MIB
    assert node.read('f.bin') == last and node.read('other.bin') == pattern(2 * MIB, 1)
    assert len(node.log('f.bin')) == 4
    revs = [e['rev'] for e in node.log('f.bin')]
    done = node.run('restore', node.path('f.bin'), '--rev', revs[0], code=3)
    assert done.stdout.count('\n') == 1 and 'not on this device; it was given up' in done.stdout, done.stdout
    done = node.run('undo', node.path('f.bin'), code=1)
    assert len(done.stderr.splitlines()) == 1 and 'not on this device: it was given up' in done.stderr
    node.run('restore', node.path('f.bin'), '--rev', revs[1])  # the pieces are other.bin's, too
    assert node.read('f.bin') == pattern(2 * MIB, 1)


def test_a_bad_time_is_an_error_line(node):
    done = node.run('compact', '--drop-before', 'sometime', node.database, code=2)
    assert len(done.stderr.splitlines()) == 1 and '--drop-before' in done.stderr


def test_what_another_device_may_ask_for_stays(pair):
    a, b = pair.nodes
    a.write('f.bin', pattern(2 * MIB, 0))
    pair.synced(deadline=60)
    b.stop()
    versions(a, 'f.bin', 3, 2 * MIB, start=1)
    assert compact(a, '--drop-before', 'now')['dropped_versions'] == 0
    b.mount()
    pair.synced(deadline=60)
    assert b.read('f.bin') == pattern(2 * MIB, 3)
    eventually(lambda: compact(a, '--drop-before', 'now')['dropped_versions'] == 3, 30, 'given up')
    assert a.read('f.bin') == b.read('f.bin') == pattern(2 * MIB, 3)
    a.write('f.bin', pattern(2 * MIB, 0))  # what a has given up comes back
    pair.synced(deadline=60)
    assert b.read('f.bin') == pattern(2 * MIB, 0)


@pytest.mark.timeout(60 + 20 * KILLS)
def test_kill_while_collecting_loses_nothing(node):
    """The packs are copied again and again, and killed while that is going on."""
    kept = {}
    for cycle in range(KILLS):
        name = f'f{cycle % 3}.bin'
        kept[name] = versions(node, name, 2, 3 * MIB, start=10 * cycle)
        collecting = node.start('compact', '--drop-before', 'now', node.database)
        for _ in range(cycle):
            node.read('f0.bin')
        node.kill9()
        collecting.communicate(timeout=20)
        node.mount()
        assert all(node.read(n) == data for n, data in kept.items())
    compact(node, '--drop-before', 'now')
    assert packed(node) < (len(kept) * 3 + 2) * MIB * 8 // 7
    node.remount()
    assert all(node.read(n) == data for n, data in kept.items())
