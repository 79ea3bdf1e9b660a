"""Old changes are packed: less on disk, the same bytes and the same history, whoever is killed, new, or was away."""
import errno
import json
import random

import pytest

from blazetest import Node
from blazetest.faults import Fault
from blazetest.wait import eventually


def big(seed):
    """100 kB that do not repeat: ten of them fill a stratum, as 4,096 small changes do."""
    return random.Random(seed).randbytes(50_000).hex()


def rewrite(node, path, times, start=0):
    for i in range(start, start + times):
        node.write(path, big(i))
    return big(start + times - 1)


def compact(node):
    return node.json('compact', node.database)


def summaries(node, path):
    return [e['summary'] for e in node.log(path)]


def test_packed_changes_are_still_history(node):
    node.write('small.json', '{"n": 0}\n')
    last = rewrite(node, 'big.txt', 45)
    before = summaries(node, 'big.txt')
    stats = compact(node)
    assert stats['compact'] >= 36 and stats['strata'] >= 3, stats
    assert stats['bytes'] < 0.6 * 100_000 * stats['compact']
    assert summaries(node, 'big.txt') == before and len(before) == 45
    node.remount()
    assert node.text('big.txt') == last and summaries(node, 'big.txt') == before


def test_small_changes_are_some_bytes_each(node):
    for i in range(4200):
        node.write('n.json', f'{{"n": {i}}}\n')
    stats = compact(node)
    assert stats['compact'] == 4096 and stats['bytes'] < 30 * 4096, stats
    assert len(node.log('n.json')) == 4200


def test_a_mount_packs_by_itself(node):
    rewrite(node, 'big.txt', 25)
    node.remount()               # what is loose is sealed at the end
    node.write('a.json', '{}')   # and something happens, after which there is time
    eventually(lambda: node.json('compact', '--dry-run', node.database)['compact'] >= 20, 20, 'packed')


def test_both_devices_pack_and_stay_equal(pair):
    a, b = pair.nodes
    last = rewrite(a, 'doc/big.txt', 25)
    a.wait()
    for n in (a, b):
        assert compact(n)['compact'] >= 20
    assert b.text('doc/big.txt') == last and summaries(a, 'doc/big.txt') == summaries(b, 'doc/big.txt')
    b.write('doc/big.txt', 'short\n')
    b.wait()
    assert a.text('doc/big.txt') == 'short\n'


def test_what_a_device_lacks_is_not_packed(pair):
    a, b = pair.nodes
    a.wait()
    pair.cut()
    rewrite(a, 'big.txt', 15)
    assert compact(a)['compact'] == 0
    pair.restore()
    a.wait()
    assert compact(a)['compact'] >= 10 and b.text('big.txt') == a.text('big.txt')


def test_a_new_device_gets_all_of_it(clusters, directory):
    cluster = clusters(2)
    a, b = cluster.nodes[0], Node(directory, 'late')
    last = rewrite(a, 'doc/big.txt', 25)
    a.write('doc/n.json', '{"n": 1}\n')
    a.wait()
    assert compact(a)['compact'] >= 20
    cluster.nodes.append(b)
    cluster.join(b)
    cluster.synced()
    b.write('doc/n.json', '{"n": 2}\n')
    b.wait()
    assert b.text('doc/big.txt') == last and a.text('doc/n.json') == '{"n": 2}\n'
    assert summaries(b, 'doc/big.txt') == summaries(a, 'doc/big.txt')


def small_history(node, records=30, edits=5000):
    for i in range(edits):
        node.write(f'people/{i % records}.json', f'{{"n": {i // records}, "name": "record {i % records}"}}\n')


def history_is_whole(node):
    return node.json('compact', '--dry-run', node.database)['missing'] == 0


def test_a_new_device_starts_from_a_snapshot_and_has_the_history_in_the_end(clusters, directory):
    cluster = clusters(2)
    a, b = cluster.nodes[0], Node(directory, 'late')
    small_history(a)
    a.path('people/7.json').unlink()
    a.wait()
    compact(a)
    cluster.nodes.append(b)
    cluster.join(b)
    cluster.synced()
    eventually(lambda: history_is_whole(b), 20, 'the history has come')
    assert summaries(b, 'people/3.json') == summaries(a, 'people/3.json')
    a.stop()                     # the old device dies
    b.write('people/3.json', '{"n": "from b"}\n')
    assert len(b.log('people/3.json')) == 168 and not b.exists('people/7.json')
    assert len(b.log('people/7.json')) == 168  # also of what was deleted before it came


def test_a_new_device_says_that_it_lacks_history(clusters, directory):
    cluster = clusters(2)
    a, b = cluster.nodes[0], Node(directory, 'late')
    small_history(a)
    rewrite(a, 'r.txt', 60)
    a.wait()
    compact(a)
    cluster.nodes.append(b)
    cluster.join(b, delay=0.1)
    eventually(lambda: b.exists('r.txt') and b.text('r.txt') == a.text('r.txt'), 20, 'the state has come')
    cluster.proxy(b).cut()
    assert not history_is_whole(b)
    assert 'still being fetched' in b.run('diff', b.path('r.txt'), '--at', '1s-ago', code=1).stderr
    assert 'still being fetched' in b.run('restore', b.path('r.txt'), '--at', '1s-ago', code=1).stderr
    for path in ('.blaze/at/1s-ago', '.blaze/history/r.txt'):
        with pytest.raises(BlockingIOError):
            b.names(path)
    cluster.proxy(b).delay = 0
    cluster.proxy(b).restore()
    eventually(lambda: history_is_whole(b), 20, 'the history has come')
    assert len(b.names('.blaze/history/r.txt')) == 60 and b.names('.blaze/at/1s-ago') == ['people', 'r.txt']


def test_a_new_device_that_is_killed_again_and_again_has_all_in_the_end(clusters, directory):
    cluster = clusters(2)
    a, b = cluster.nodes[0], Node(directory, 'late')
    small_history(a)
    a.wait()
    compact(a)
    cluster.nodes.append(b)
    cluster.join(b)
    for i in range(4):
        for _ in range(3 * i):
            b.status()
        b.kill9().mount()
        b.write(f'people/b{i}.json', f'{{"b": {i}}}\n')
    cluster.synced()
    eventually(lambda: history_is_whole(b), 20, 'the history has come')
    assert summaries(b, 'people/3.json') == summaries(a, 'people/3.json')
    assert all(a.text(f'people/b{i}.json') == f'{{"b": {i}}}\n' for i in range(4))


def test_kill_while_packing_loses_nothing(node):
    for cycle in range(6):
        last = rewrite(node, 'big.txt', 22, 100 * cycle)
        node.remount()
        packing = node.start('compact', node.database)
        for _ in range(cycle):
            node.read('big.txt')
        node.kill9()
        packing.communicate(timeout=60)  # alone, it opens the store that the daemon leaves, and goes on
        node.mount()
        assert node.text('big.txt') == last
    assert compact(node)['compact'] >= 120 and len(node.log('big.txt')) == 132
    node.remount()
    assert len(node.log('big.txt')) == 132


@pytest.mark.parametrize('rule', [f'write {errno.EIO} .log', f'write {errno.ENOSPC} .log'])
def test_a_failing_disk_stops_packing_and_nothing_else(device, rule):
    fault = Fault(device, 'failio')
    node = device.allow(r'blaze (error|warning): .*(store|disk|compacted|I/O|Input/output).*').init().mount()
    last = rewrite(node, 'big.txt', 45)
    fault.set(rule)
    node.run('compact', node.database, code=None)
    assert node.text('big.txt') == last
    fault.clear()
    eventually(lambda: node.run('compact', node.database, code=None).returncode == 0, 10, 'packs again')
    assert compact(node)['compact'] >= 30 and len(node.log('big.txt')) == 45
    node.kill9().mount()
    assert node.text('big.txt') == last and len(node.log('big.txt')) == 45


def test_a_new_device_edits_what_its_snapshot_brought(clusters, directory):
    """Text, arrays and large files of before it came, edited on both devices at the same time."""
    cluster = clusters(2)
    a, b = cluster.nodes[0], Node(directory, 'late')
    lines = [f'line {i}\n' for i in range(40)]
    for i in range(30):
        lines[i] = f'line {i}, edited\n'
        a.write('doc/text.md', ''.join(lines))
    items = [{'id': i, 'n': 0} for i in range(20)]
    for i in range(20):
        items[i]['n'] = i
        a.write('doc/list.json', json.dumps(items, indent=2) + '\n')
    binary = random.Random(5).randbytes(9 << 20)
    a.write('doc/film.bin', binary)
    a.write('doc/film.bin', binary := binary[:4 << 20] + b'cut' + binary[4 << 20:])
    a.wait()
    compact(a)
    cluster.nodes.append(b)
    cluster.join(b)
    cluster.synced(deadline=60)
    assert b.read('doc/film.bin') == binary
    assert b.text('doc/text.md') == ''.join(lines) and json.loads(b.text('doc/list.json')) == items

    cluster.cut()
    a.write('doc/text.md', ''.join(lines[:5] + ['from a\n'] + lines[5:]))
    b.write('doc/text.md', ''.join(lines[:30] + ['from b\n'] + lines[30:]))
    a.write('doc/list.json', json.dumps(items[:3] + [{'id': 'a', 'n': 1}] + items[3:], indent=2) + '\n')
    items[10]['n'] = 'b'
    b.write('doc/list.json', json.dumps(items, indent=2) + '\n')
    b.write('doc/film.bin', longer := binary + b'the end')
    a.write('doc/new.bin', binary[::-1])
    cluster.restore()
    cluster.synced(deadline=60)
    for node in (a, b):
        text = ''.join(lines[:5] + ['from a\n'] + lines[5:30] + ['from b\n'] + lines[30:])
        assert node.text('doc/text.md') == text
        assert json.loads(node.text('doc/list.json')) == items[:3] + [{'id': 'a', 'n': 1}] + items[3:]
        assert node.read('doc/film.bin') == longer and node.read('doc/new.bin') == binary[::-1]
        assert node.status()['conflicts'] == 0
    assert a.text('doc/list.json') == b.text('doc/list.json')


def test_packed_logs_of_texts_are_unpacked_for_whoever_was_away(pair):
    a, b = pair.nodes
    lines = [f'{i}\n' for i in range(50)]
    a.write('t.txt', ''.join(lines))
    pair.synced()
    pair.cut()
    b.write('t.txt', ''.join(['first, from b\n'] + lines))
    for i in range(20, 50):
        lines[i] = f'{i} from a\n'
        a.write('t.txt', ''.join(lines))
    compact(a)
    compact(b)
    a.remount(listen=a.listen)
    pair.retarget()
    pair.restore()
    pair.synced()
    assert a.text('t.txt') == b.text('t.txt') == ''.join(['first, from b\n'] + lines)
    compact(a)
    a.run('undo', a.path('t.txt'))
    pair.synced()
    assert a.text('t.txt') == b.text('t.txt') == ''.join(['first, from b\n'] + lines[:49] + ['49\n'])
