"""Devices that never meet sync through a directory that another program carries about."""
import json
import os
import signal

import pytest

from blazetest.cluster import is_connected
from blazetest.faults import Fault
from blazetest.folder import Cloud, folders_of, is_written, segments, use, wait_written
from blazetest.node import Node
from blazetest.wait import eventually


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Node takes it from here."""
    monkeypatch.setenv('BLAZE_FOLDER_PAUSE_MS', '200')


@pytest.fixture
def apart(pair, directory):
    """Two paired devices whose only way to each other is a directory that both have."""
    pair.cut()
    for node in pair.nodes:
        use(node, directory / 'shared')
    wait_written(*pair.nodes)
    return pair


def test_an_edit_comes_through_the_folder(apart):
    a, b = apart.nodes
    a.write('notes/todo.txt', 'milk\n')
    eventually(lambda: b.text('notes/todo.txt') == 'milk\n')
    b.write('notes/todo.txt', 'milk\nbread\n')
    eventually(lambda: a.text('notes/todo.txt') == 'milk\nbread\n')
    assert not is_connected(a) and not is_connected(b)


def test_wait_and_status_say_what_is_true(apart):
    """What the folder holds is not yet on the other device: only that device's word makes it so."""
    a, b = apart.nodes
    a.write('r.json', '{}')
    a.wait()
    assert b.text('r.json') == '{}'
    assert a.status()['peers'][0]['path'] == 'folder' and a.status()['state'] == 'synced'
    shown = a.run('topology', a.database).stdout
    assert '·· folder ·· device-b' in shown and '──folder── folder:' in shown
    b.stop()
    a.write('later.json', '{}')
    wait_written(a)
    assert 'not yet on' in a.wait('1s', code=4).stderr
    b.mount()
    a.wait()


def test_devices_that_are_never_up_together(clusters, directory):
    """Three of them, each of which edits while the others are away; all merges, to the same bytes."""
    three = clusters(3)
    base = {f'{n}': n for n in range(20)}
    three.nodes[0].write('shared.json', json.dumps(base, indent=1))
    three.nodes[0].write('shared.txt', ''.join(f'line {n}\n' for n in range(60)))
    three.synced()
    for node in three.nodes:
        use(node, directory / 'shared')
    wait_written(*three.nodes)
    for node in three.nodes:
        node.stop()
    large = os.urandom(3 << 20)
    for i, node in enumerate(three.nodes):
        node.mount()
        text = node.text('shared.txt').replace(f'line {20 * i + 3}\n', f'line {20 * i + 3} of {node.name}\n')
        node.write('shared.txt', text)
        fields = json.loads(node.text('shared.json'))
        node.write('shared.json', json.dumps({**fields, f'{i}': node.name}, indent=1))
        node.write(f'of-{node.name}.bin', large[i << 20:(i + 1) << 20])
        wait_written(node)
        node.stop()
    for node in three.nodes[:2]:
        node.mount()
        wait_written(node)
        node.stop()
    trees = []
    for node in three.nodes:
        node.mount()
        wait_written(node)
        trees.append(node.tree())
        node.stop()
    assert trees[0] == trees[1] == trees[2]
    for node in three.nodes:
        node.mount()
    first = three.nodes[0]
    assert json.loads(first.text('shared.json')) == {**base, '0': 'a', '1': 'b', '2': 'c'}
    assert all(f'line {20 * i + 3} of {x}\n' in first.text('shared.txt') for i, x in enumerate('abc'))
    assert b''.join(first.read(f'of-{x}.bin') for x in 'abc') == large


def test_large_content_and_what_is_there_already(apart, directory):
    a, b = apart.nodes
    content = os.urandom(6 << 20)
    a.write('large.bin', content)
    eventually(lambda: b.read('large.bin') == content, 30)
    wait_written(a, b)
    sent = folders_of(a)[0]['up_bytes'] + folders_of(b)[0]['up_bytes']
    a.write('again.bin', content + b'!')
    eventually(lambda: b.read('again.bin') == content + b'!', 30)
    wait_written(a, b)
    assert folders_of(a)[0]['up_bytes'] + folders_of(b)[0]['up_bytes'] - sent < 2 << 20


def test_the_folder_holds_no_name_key_or_value(apart, directory):
    a, b = apart.nodes
    a.write('canarydirectory/canaryname.json', '{"canarykey": "canaryvalue"}\n')
    a.write('canaryname.txt', 'canaryvalue\n' * 100)
    a.write('canary.bin', b'canaryvalue' * 300000 + os.urandom(1000))
    a.wait()
    assert b.text('canarydirectory/canaryname.json') == '{"canarykey": "canaryvalue"}\n'
    stored = b''.join(str(p).encode() + b'\0' + (p.read_bytes() if p.is_file() else b'')
                      for p in sorted((directory / 'shared' / 'blaze1').rglob('*')))
    assert len(stored) > 10000
    for canary in (b'canary', b'device-a', b'device-b', b'todo', a.database.encode() + b'.'):
        assert canary not in stored.replace(str(directory).encode(), b''), canary


def test_chunks_that_are_lost_are_written_again(pair, directory):
    """What a large file is made of leaves no gap in what the folder says it holds. Lost while its device runs, and while not."""
    a, b = pair.nodes
    pair.cut()
    shared = use(a, directory / 'shared')
    content = os.urandom(3 << 20)
    a.write('large.bin', content)
    wait_written(a)
    lost = [p for p in segments(shared) if p.stat().st_size > 500000]
    assert lost
    lost[0].unlink()
    eventually(lambda: folders_of(a)[0]['lost'] == 1)
    eventually(lambda: sum(p.stat().st_size for p in segments(shared)) > len(content))
    wait_written(a)
    a.stop()
    lost = [p for p in segments(shared) if p.stat().st_size > 500000]
    lost[0].unlink()
    a.mount(listen='127.0.0.1:0')
    wait_written(a)
    a.stop()
    use(b, shared)
    eventually(lambda: b.read('large.bin') == content, 20)


@pytest.fixture
def clouded(pair, directory):
    """Two paired devices, each with its own copy of a directory; a test carries files from one to the other."""
    cloud = Cloud(directory)
    for node in pair.nodes:
        use(node, cloud.copies[node.name])
    wait_written(*pair.nodes)
    pair.cut()
    pair.cloud = cloud
    return pair


def settle(clouded):
    """Carries files until both have the same."""
    def same():
        clouded.cloud.carry_all()
        return all(is_written(n) for n in clouded.nodes) and clouded.nodes[0].tree() == clouded.nodes[1].tree()
    eventually(same, 30, 'both show the same', every=0.1)


def test_files_that_come_in_halves_and_in_any_order(clouded):
    a, b = clouded.nodes
    for n in range(12):
        a.write(f'r/{n}.json', f'{{"n": {n}}}\n')
        wait_written(a)
    files = segments(clouded.cloud.copies['a'])
    assert len(files) > 5
    before = b.tree()
    for path in reversed(files):  # the last comes first; each half at first
        there = clouded.cloud.copies['b'] / path.relative_to(clouded.cloud.copies['a'])
        data = path.read_bytes()
        clouded.cloud.deliver(path, there, lambda _, d: d[:len(d) // 2])
        if path == files[1]:  # the first of these records
            eventually(lambda: folders_of(b)[0]['odd'] == 2)
            assert b.tree() == before
        if path != files[-1]:
            there.write_bytes(data)
    there = clouded.cloud.copies['b'] / files[-1].relative_to(clouded.cloud.copies['a'])
    eventually(lambda: len(b.names('r')) == 11)
    there.write_bytes(files[-1].read_bytes())
    eventually(lambda: len(b.names('r')) == 12)
    settle(clouded)


def test_hostile_contents(clouded, directory):
    """Damaged, foreign, doubled and misnamed files, placeholders, links and pipes: nothing comes of them, and all else goes on."""
    a, b = clouded.nodes
    b.allow('folder: .* is not signed by the device .*')
    a.write('r.json', '{"n": 1}\n')
    wait_written(a)
    copy = clouded.cloud.copies['b']
    good = segments(clouded.cloud.copies['a'])[-1]
    data = good.read_bytes()
    base = next((copy / 'blaze1').iterdir())
    there = base / 'w' / good.parent.parent.name / good.parent.name
    there.mkdir(parents=True, exist_ok=True)
    before = b.tree()
    for bit in range(0, 8 * len(data), 8 * len(data) // 40):
        if 26 <= bit // 8 < 42:
            continue  # of somebody who is not known yet: its items speak for themselves
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        (there / f'damaged-{bit}.blz').write_bytes(damaged)
    (there / 'zeros.blz').write_bytes(bytes(len(data)))
    (there / 'head-only.blz').write_bytes(data[:300] + bytes(len(data) - 300))
    (there / 'empty.blz').touch()
    (there / 'longer.blz').write_bytes(data + b'\0')
    (there / 'text.blz').write_text('something else\n' * 100)
    with open(there / 'sparse.blz', 'wb') as f:
        f.truncate(1 << 40)
    os.mkfifo(there / 'pipe.blz')
    (there / 'link.blz').symlink_to('/dev/zero')
    (there / 'loop').symlink_to(there)
    (there / f'.{good.name}.icloud').write_bytes(b'bplist00')
    (there / '\udcff\n.blz'.encode('utf-8', 'surrogateescape').decode('utf-8', 'surrogateescape')).write_bytes(b'x')
    eventually(lambda: folders_of(b)[0]['odd'] > 40)
    assert b.tree() == before
    (base / 'w' / f'x ({b.name}s conflicted copy).blz').write_bytes(data)
    (copy / 'blaze1 2' / base.name).mkdir(parents=True)
    (copy / 'blaze1 2' / base.name / 'again.blz').write_bytes(data)
    eventually(lambda: b.text('r.json') == '{"n": 1}\n')
    b.write('r.json', '{"n": 2}\n')
    settle(clouded)
    assert a.text('r.json') == '{"n": 2}\n'
    assert 'damaged or foreign' in b.run('relay', b.database).stdout


def test_files_of_another_database(apart, directory):
    """One folder serves many databases: each leaves the others' alone."""
    a, _ = apart.nodes
    other = Node(directory, 'z', database='other').init().mount()
    try:
        use(other, directory / 'shared')
        other.write('r.json', '{}')
        a.write('r.json', '{}')
        wait_written(a, other)
        assert len(list((directory / 'shared' / 'blaze1').iterdir())) == 2
        assert folders_of(a)[0]['odd'] == folders_of(other)[0]['odd'] == 0
        assert other.names() == ['r.json'] == a.names()
    finally:
        other.close()


def test_what_the_provider_loses_is_written_again(clouded):
    a, b = clouded.nodes
    a.write('r.json', '{}')
    b.write('s.json', '{}')
    settle(clouded)
    lost = segments(clouded.cloud.copies['a'])
    for path in lost:  # as a provider does it: here and there
        path.unlink()
        (clouded.cloud.copies['b'] / path.relative_to(clouded.cloud.copies['a'])).unlink()
    eventually(lambda: folders_of(a)[0]['lost'] > 0 and folders_of(b)[0]['lost'] > 0, 20)
    assert 'written again' in a.run('relay', a.database).stdout
    wait_written(a, b)
    damaged = segments(clouded.cloud.copies['a'])[-1]
    content = bytearray(damaged.read_bytes())
    content[-20] ^= 1
    damaged.write_bytes(content)
    settle(clouded)
    newcomer = clouded.cloud.copies['b']
    assert len(segments(newcomer)) >= 2
    a.write('r.json', '{"n": 1}')
    settle(clouded)


def test_an_ack_that_is_lost_is_written_again(clouded):
    a, b = clouded.nodes
    a.write('r.json', '{}')
    wait_written(a)
    clouded.cloud.carry('a', 'b')
    eventually(lambda: b.exists('r.json'))
    wait_written(b)
    for path in segments(clouded.cloud.copies['b'], acks=True):
        if path.name.startswith('ack-') and not (clouded.cloud.copies['a'] / path.relative_to(clouded.cloud.copies['b'])).exists():
            path.unlink()  # before it was carried to the other

    def is_acked():
        clouded.cloud.carry('b', 'a')
        return a.status()['state'] == 'synced'
    eventually(is_acked, 20)


def test_a_folder_that_vanishes_is_not_made_again(clouded, directory):
    """A disk that is not mounted leaves an empty directory: filling that would hide what is on the disk."""
    a, b = clouded.nodes
    for node in clouded.nodes:
        node.allow('folder .* is gone from it.*')
    a.write('r.json', '{}')
    wait_written(a)
    copy = clouded.cloud.copies['a']
    away = directory / 'unmounted'
    copy.rename(away)
    copy.mkdir()
    eventually(lambda: folders_of(a)[0]['state'] == 'away')
    assert 'is it mounted?' in folders_of(a)[0]['error']
    a.write('s.json', '{}')
    assert a.text('s.json') == '{}' and not list(copy.iterdir())
    copy.rmdir()
    away.rename(copy)
    settle(clouded)
    assert b.text('s.json') == '{}'


def test_a_folder_that_cannot_be_written_to(clouded):
    a, b = clouded.nodes
    a.allow('folder .* cannot be written to: .*')
    fault = Fault(a, 'failio')
    a.remount(listen='127.0.0.1:0')
    for error, name in ((28, 'No space left'), (30, 'Read-only')):
        fault.set(f'fsync {error} cloud-a')
        a.write(f'r{error}.json', '{}')
        eventually(lambda n=name: n in folders_of(a)[0]['error'])
        b.write(f's{error}.json', '{}')
        wait_written(b)
        clouded.cloud.carry('b', 'a')
        eventually(lambda e=error: a.exists(f's{e}.json'))  # taking goes on
        fault.clear()
        settle(clouded)
        assert b.exists(f'r{error}.json') and folders_of(a)[0]['error'] == ''


def test_a_folder_that_hangs_holds_up_nobody(clouded):
    """As a server that is gone: neither the mount, nor the other ways, nor the end of the daemon wait for it."""
    a, b = clouded.nodes
    a.allow('folder .* does not answer: left as it is')
    fault = Fault(a, 'failio')
    a.remount(listen='127.0.0.1:0')
    clouded.retarget()
    fault.set('fsync 0 cloud-a')
    a.write('r.json', '{}')
    eventually(lambda: 'has not answered' in folders_of(a)[0]['error'], 20)
    for n in range(50):
        a.write(f'more/{n}.json', '{}')
    clouded.restore()
    clouded.synced()
    assert len(b.names('more')) == 50
    a.stop()
    fault.clear()
    a.mount(listen='127.0.0.1:0')
    wait_written(a)


def test_a_file_system_whose_server_stops(pair, directory):
    """A directory on FUSE, where nobody tells of changes; then its server is frozen, as a network's may be."""
    a, b = pair.nodes
    server = Node(directory, 'z', database='other').init().mount()
    try:
        os.mkdir(server.path('shared'))
        for node in pair.nodes:
            use(node, server.path('shared'))
        wait_written(*pair.nodes)
        pair.cut()
        a.write('r.json', '{}')
        eventually(lambda: b.exists('r.json'), 20)
        os.kill(server.process.pid, signal.SIGSTOP)
        a.write('s.json', '{}')
        eventually(lambda: 'has not answered' in folders_of(a)[0]['error'], 20)
        for n in range(50):
            a.write(f'more/{n}.json', '{}')
            assert a.text(f'more/{n}.json') == '{}'
        pair.restore()
        pair.synced()
        os.kill(server.process.pid, signal.SIGCONT)
        wait_written(a, b)
        for node in pair.nodes:
            node.stop()
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
        server.close()


def test_kill_in_the_middle(clouded):
    a, b = clouded.nodes
    fault = Fault(a, 'failio')
    a.remount(listen='127.0.0.1:0')
    for n in range(3):
        fault.set('fsync 0 .tmp')
        a.write(f'r{n}.json', '{}')
        copy = clouded.cloud.copies['a']
        eventually(lambda: list(copy.rglob('.~*.tmp')))
        a.kill9()
        fault.clear()
        a.mount(listen='127.0.0.1:0')
        wait_written(a)
        assert not list(copy.rglob('.~*.tmp'))
    settle(clouded)
    assert b.exists('r2.json')


def test_small_files_are_put_together(apart, directory):
    a, b = apart.nodes
    for n in range(40):
        a.write('r.json', f'{{"n": {n}}}\n')
        wait_written(a)
    eventually(lambda: len(segments(directory / 'shared')) < 20, 30)
    assert folders_of(a)[0]['lost'] == folders_of(b)[0]['lost'] == 0
    acks = [p for p in (directory / 'shared').rglob('ack-*.blz')]
    assert len(acks) <= 4
    a.stop()
    b.remount()
    assert b.text('r.json') == '{"n": 39}\n'
    a.mount()
    a.write('r.json', '{"n": 40}\n')
    eventually(lambda: b.text('r.json') == '{"n": 40}\n')


def test_a_device_that_joins_later(clusters, directory):
    """All it needs is in the folder, written by devices of which one is away for ever."""
    cluster = clusters(2)
    a, b = cluster.nodes
    for node in (a, b):
        use(node, directory / 'shared')
    for n in range(30):
        a.write(f'old/{n}.json', f'{{"n": {n}}}\n')
        b.write(f'more/{n}.json', f'{{"n": {n}}}\n')
    content = os.urandom(2 << 20)
    b.write('large.bin', content)
    cluster.synced()
    wait_written(a, b)
    b.stop()
    c = cluster._add(Node(directory, 'c'))
    cluster.join(c)
    a.stop()
    use(c, directory / 'shared')
    eventually(lambda: len(c.names('old')) == 30 and len(c.names('more')) == 30 and c.read('large.bin') == content, 30)
    c.write('new.json', '{}')
    wait_written(c)
    c.stop()
    b.mount()
    eventually(lambda: b.exists('new.json'))


def test_bad_input(clouded, directory):
    a = clouded.nodes[0]
    missing = directory / 'missing'
    assert 'make the directory first' in a.run('relay', 'add', f'folder:{missing}', a.database, code=2).stderr
    file = directory / 'file'
    file.touch()
    assert 'no directory' in a.run('relay', 'add', f'folder:{file}', a.database, code=2).stderr
    assert 'inside this database' in a.run('relay', 'add', f'folder:{a.mnt}', a.database, code=2).stderr
    assert 'no relay' in a.run('relay', 'remove', f'folder:{missing}', a.database, code=1).stderr
    assert len(folders_of(a)) == 1


def test_remove(apart, directory):
    a, b = apart.nodes
    b.run('relay', 'remove', f'folder:{directory / "shared"}', b.database)
    assert folders_of(b) == [] and 'No relay' in b.run('relay', b.database).stdout
    a.write('r.json', '{}')
    wait_written(a)
    b.remount()
    assert folders_of(b) == []
    use(b, directory / 'shared')
    eventually(lambda: b.exists('r.json'))


def test_a_removed_device_gets_nothing_more(clusters, directory):
    """After a removal all is sealed under new keys; what was there before, and who remains, goes on."""
    three = clusters(3)
    a, b, c = three.nodes
    for node in three.nodes:
        use(node, directory / 'shared')
    wait_written(*three.nodes)
    three.cut()
    a.write('before.json', '{}')
    eventually(lambda: b.exists('before.json') and c.exists('before.json'))
    a.run('devices', 'remove', 'device-c', a.database)
    for n in range(3):
        a.write(f'after{n}.json', '{}')
        wait_written(a)
        b.write(f'answer{n}.json', '{}')
    eventually(lambda: b.exists('after2.json') and a.exists('answer2.json'))
    wait_written(a, b)
    b.remount()
    a.write('last.json', '{}')
    eventually(lambda: b.exists('last.json'))
    assert not c.exists('after0.json') and not c.exists('answer2.json')
