"""`blaze watch`: what happens, as it happens, one line an event; and `blaze log --since`, where it says to look."""
import json
import os
import pty
import shutil
import signal
import subprocess

from blazetest import Node
from blazetest.cluster import Invitation
from blazetest.node import BIN
from blazetest.relay import Relay, wait_idle
from blazetest.wait import SCALE, eventually, read_line
from blazetest.watching import Watching

CHANGES = {'created', 'changed', 'deleted', 'moved', 'conflict', 'held'}


def brief(lines):
    return [(line['event'], line.get('path')) for line in lines if line['event'] in CHANGES]


def test_what_happens_to_a_file_is_told(node):
    with Watching(node) as w:
        node.write('bugs/crash.json', '{"n":1}')
        node.write('bugs/crash.json', '{"n":2}')
        node.path('bugs/crash.json').rename(node.path('bugs/solved.json'))
        node.path('bugs/solved.json').unlink()
        lines = w.until('deleted', path='bugs/solved.json')
    assert brief(lines) == [('created', 'bugs'), ('created', 'bugs/crash.json'), ('changed', 'bugs/crash.json'),
                            ('moved', 'bugs/solved.json'), ('deleted', 'bugs/solved.json')]
    moved = lines[-2]
    assert moved['from'] == 'bugs/crash.json' and moved['type'] == 'file' and lines[0]['type'] == 'directory'
    assert {(x['device'], x['origin']) for x in lines} == {('device-a', 'local')}
    assert [x['seq'] for x in lines] == list(range(lines[0]['seq'], lines[0]['seq'] + len(lines)))
    known = {x['rev'] for x in node.log('bugs')}
    assert {x['rev'] for x in lines if x['path'] != 'bugs'} <= known


def test_changes_of_another_device_carry_its_name(pair):
    a, b = pair.nodes
    with Watching(b) as w:
        a.write('notes/x.txt', 'milk\n')
        a.wait()  # what arrives together is told as one
        a.write('notes/x.txt', 'milk\nbread\n')
        a.wait()
        a.path('notes').rename(a.path('lists'))
        lines = w.until('moved', path='lists')
        assert brief(lines) == [('created', 'notes'), ('created', 'notes/x.txt'), ('changed', 'notes/x.txt'),
                                ('moved', 'lists')]
        assert lines[-1]['from'] == 'notes' and lines[-1]['type'] == 'directory'
        for line in lines:
            if line['event'] in CHANGES:
                assert (line['device'], line['origin']) == ('device-a', 'remote')
        b.write('own.txt', '')
        assert w.until('created', path='own.txt')[-1]['origin'] == 'local'


def test_a_move_to_another_collection_says_from_where(pair):
    a, b = pair.nodes
    a.write('todo/x.json', '{"n":1}')
    a.write('done/y.json', '{}')
    pair.synced()
    with Watching(a) as here, Watching(b) as there:
        a.path('todo/x.json').rename(a.path('done/x.json'))
        for w in (here, there):
            assert w.until('created', path='done/x.json')[-1]['from'] == 'todo/x.json'


def test_files_that_stay_on_the_device_are_nothing(node):
    with Watching(node) as w:
        node.write('.git/index', 'x')
        node.write('x.tmp', 'x')
        node.write('last.txt', 'x')
        assert brief(w.until('created', path='last.txt')) == [('created', 'last.txt')]


def test_a_path_is_watched_alone(node):
    node.write('bugs/one.json', '{}')
    node.write('bugsy.txt', '')
    with Watching(node, node.path('bugs')) as w, Watching(node, node.path('bugs/one.json')) as one, \
            Watching(node, f'{node.database}:bugs') as named:
        assert w.first['path'] == 'bugs' and one.first['path'] == 'bugs/one.json' and named.first['path'] == 'bugs'
        node.write('bugsy.txt', 'x')
        node.write('bugs/two.json', '{}')
        node.path('bugs/two.json').rename(node.path('two.json'))
        node.path('bugs').rename(node.path('solved'))
        for watch in (w, named):
            lines = brief(watch.until('moved', path='solved'))
            assert 'bugsy.txt' not in {path for _, path in lines} and ('created', 'bugs/two.json') in lines
        assert brief(one.until('moved', path='solved')) == [('moved', 'solved')]


def test_devices_that_come_and_go(pair):
    a, _ = pair.nodes
    with Watching(a) as w, Watching(a, '--changes', a.database) as changes:
        pair.cut()
        lost = w.until('disconnected')[-1]
        assert (lost['device'], lost['via']) == ('device-b', 'direct') and lost['why']
        pair.restore()
        assert w.until('connected')[-1]['via'] == 'direct'
        assert w.until('synced')[-1]['device'] == 'device-b'
        a.write('r.json', '{}')
        assert changes.line()['path'] == 'r.json'


def test_members_that_are_admitted_and_removed(pair, directory):
    a, b = pair.nodes
    c = Node(directory, 'c')
    try:
        with Watching(a) as here, Watching(b) as there, Watching(b, '--changes', b.database) as changes:
            with Invitation(a) as invitation:
                c.run('pair', '--name', 'device-c', invitation.link)
                invitation.accepted()
            a.run('devices', 'role', 'device-c', 'read', a.database)
            a.run('devices', 'remove', 'device-c', '--yes', a.database)
            for w in (here, there):
                admitted = w.until('admitted')[-1]
                assert (admitted['device'], admitted['role'], admitted['by']) == ('device-c', 'owner', 'device-a')
                assert w.until('role')[-1].items() >= {'device': 'device-c', 'role': 'read'}.items()
                assert w.until('removed')[-1].items() >= {'device': 'device-c', 'by': 'device-a'}.items()
            a.write('last.txt', '')
            assert changes.line()['path'] == 'last.txt'
    finally:
        c.discard()


def test_a_folder_that_comes_and_goes(node, directory):
    folder = directory / 'shared'
    folder.mkdir()
    with Watching(node) as w:
        node.run('relay', 'add', f'folder:{folder}', node.database)
        opened = w.until('connected')[-1]
        assert (opened['relay'], opened['via']) == (f'folder:{folder}', 'folder') and 'why' not in opened
        node.allow('.*is gone from it.*')
        folder.rename(directory / 'unmounted')
        lost = w.until('disconnected', 40)[-1]
        assert lost['relay'] == f'folder:{folder}' and lost['why']
        (directory / 'unmounted').rename(folder)
        w.until('connected', 40)
        node.run('relay', 'remove', f'folder:{folder}', node.database)
        assert 'why' not in w.until('disconnected')[-1]


def test_a_conflict_is_told_until_it_is_settled(pair):
    a, b = pair.nodes
    a.write('r.bin', b'\0base')
    pair.synced()
    pair.cut()
    a.write('r.bin', b'\0one')
    b.write('r.bin', b'\0other')
    with Watching(a) as w:
        pair.restore()
        assert w.until('conflict', path='r.bin')[-1]['values'] == 1
        a.run('conflicts', 'keep', a.path('r.bin'))
        assert w.until('conflict', path='r.bin')[-1]['values'] == 0


def test_a_bulk_deletion_that_is_held_is_told(pair):
    a, b = pair.nodes
    for k in range(20):
        a.write(f'notes/{k}.json', '{}')
    pair.synced()
    with Watching(b) as w:
        for k in range(15):
            a.path(f'notes/{k}.json').unlink()
        held = w.until('held', path='notes')[-1]
        assert held['device'] == 'device-a' and held['of'] == 20 and 10 < held['held'] <= 15


def test_relays_that_come_go_and_lie(node, directory):
    node.allow('.*not to be trusted.*')
    relay = Relay(directory).start()
    try:
        with Watching(node) as w:
            node.run('relay', 'add', relay.address, node.database)
            assert w.until('connected', via='relay')[-1]['relay'] in relay.address
            wait_idle(node)
            relay.stop()
            w.until('disconnected', via='relay')
            shutil.copytree(relay.home, directory / 'copy')
            relay.start()
            node.write('lost.json', '{}')
            wait_idle(node)
            relay.stop()
            shutil.rmtree(relay.home)
            shutil.copytree(directory / 'copy', relay.home)
            relay.start()
            caught = w.until('distrusted')[-1]
            assert 'lost what it gave receipts for' in caught['why'] and caught['relay'] in relay.address
    finally:
        relay.kill9()


def test_it_ends_with_3_when_the_mount_does(node):
    with Watching(node) as w:
        node.write('r.txt', 'x')
        node.umount()
        code, rest = w.ended()
    assert code == 3 and f'{node.database} was unmounted' in rest
    assert json.loads([line for line in rest.splitlines() if line[0] == '{'][-1])['event'] == 'end'


def test_it_ends_with_1_when_the_daemon_is_killed_or_not_there(node):
    with Watching(node) as w:
        node.kill9()
        code, rest = w.ended()
        assert code == 1 and 'the daemon ended' in rest
    assert 'is not mounted' in node.run('watch', node.database, code=1).stderr
    node.run('watch', node.path('r.txt'), code=10)
    node.mount()


def test_ctrl_c_and_a_reader_that_leaves_end_it(node):
    with Watching(node) as w:
        code, rest = w.interrupt()
        assert code == -signal.SIGINT and rest == ''
    with Watching(node) as w:
        w.process.stdout.close()
        assert w.process.wait(10 * SCALE) == 0  # though nothing was written any more
    eventually(lambda: node.run('status', node.database))


def test_who_does_not_read_holds_up_nobody(node):
    deep = '/'.join(['d' * 250] * 15)
    node.path(deep).mkdir(parents=True)
    name = node.path(deep) / 'r.txt'
    where = os.open(node.path(deep), os.O_PATH)
    saves = 1500

    def save(k):
        fd = os.open('r.txt', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=where)
        os.write(fd, b'%d' % k)
        os.close(fd)

    save(-1)
    with Watching(node) as lazy, Watching(node) as busy:
        for k in range(saves):
            save(k)  # each ends, though nobody reads
            busy.until('changed')
        assert name.exists() and node.status()['v'] == 1
        lines = [lazy.line()]
        while lines[-1].get('seq') != busy_last(lines, saves):
            lines.append(lazy.line())
    gaps = [line for line in lines if line['event'] == 'dropped']
    assert len(gaps) == 1 and gaps[0]['count'] + len(lines) - 1 == saves
    told = node.run('log', '--json', '--since', gaps[0]['since'], node.mnt).stdout.splitlines()
    assert gaps[0]['count'] <= len(told) <= saves + 1
    os.close(where)


def busy_last(lines, saves):
    """The number of the last event, told from the first."""
    return lines[0]['seq'] + saves - 1


def test_nobody_who_reads_nothing_holds_up_the_end(node):
    deep = '/'.join(['d' * 250] * 15)
    node.path(deep).mkdir(parents=True)
    where = os.open(node.path(deep), os.O_PATH)
    with Watching(node):
        for k in range(400):
            fd = os.open('r.txt', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=where)
            os.write(fd, b'%d' % k)
            os.close(fd)
        os.close(where)
        node.umount()


def test_a_person_at_a_terminal_reads_words(pair):
    a, b = pair.nodes
    ours, theirs = pty.openpty()
    with subprocess.Popen([BIN, 'watch', a.database], env=a.env, stdin=subprocess.DEVNULL, stdout=theirs,
                          stderr=subprocess.STDOUT, start_new_session=True) as process:
        os.close(theirs)
        try:
            assert read_line(ours, 10, 'watch').startswith('Watching work.')
            b.write('na\x1b[31mme.txt', '')
            while 'created' not in (line := read_line(ours, 10, 'watch')):
                assert 'synced' in line or 'connected' in line
            assert '(device-b)' in line and '\x1b' not in line
            os.close(ours)  # the terminal is closed
            assert process.wait(10 * SCALE) in (0, -signal.SIGHUP)
        finally:
            process.kill()


def test_log_since(node):
    for k in range(3):
        node.write(f'{k}.txt', 'x')
    times = sorted(json.loads(line)['time'] for line in node.run('log', '--json', node.mnt).stdout.splitlines())
    told = node.run('log', '--json', '--since', times[1], node.mnt).stdout.splitlines()
    assert sorted(json.loads(line)['time'] for line in told) == [t for t in times if t >= times[1]]
    assert node.run('log', '--since', '2000-01-01', node.path('1.txt')).stdout.count('\n') == 1
    assert node.run('log', '--since', '9999-01-01', node.path('1.txt'), code=None).stdout == ''
    assert 'is' in node.run('log', '--since', 'soonish', node.path('1.txt'), code=2).stderr
