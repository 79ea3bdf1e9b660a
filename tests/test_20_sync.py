"""Two devices: every change of one appears on the other, and both end with the same bytes."""
import json
import os

import pytest

from blazetest.cluster import is_connected
from blazetest.wait import eventually, never, now

RECORD = '{\n  "title": "Crash",\n  "status": "open",\n  "priority": 2\n}\n'


def offline_edits(pair, on_a, on_b):
    """Runs one edit on each side while they cannot see each other, then joins them again."""
    a, b = pair.nodes
    pair.cut()
    on_a(a)
    on_b(b)
    pair.restore()
    pair.synced()
    return a, b


# ---- one change -------------------------------------------------------------------------------------

def test_new_file_appears(pair):
    a, b = pair.nodes
    a.write('notes/todo.txt', 'milk\n')
    a.wait()
    assert b.text('notes/todo.txt') == 'milk\n'


def test_new_file_appears_the_other_way(pair):
    a, b = pair.nodes
    b.write('notes/todo.txt', 'milk\n')
    b.wait()
    assert a.text('notes/todo.txt') == 'milk\n'


def test_change_arrives_within_a_second_unasked(pair):
    a, b = pair.nodes
    a.write('quick.json', '{}')
    eventually(lambda: b.text('quick.json') == '{}', 1, every=0.001)


def test_edit_drops_the_readers_cache(pair):
    a, b = pair.nodes
    a.write('r.json', RECORD)
    pair.synced()
    assert b.text('r.json') == RECORD
    for n in range(20):
        a.write('r.json', RECORD.replace('2', str(n + 100)))
        a.wait()
        assert b.text('r.json') == a.text('r.json') and b.path('r.json').stat().st_size == len(RECORD) + 2


def test_negative_lookup_is_forgotten(pair):
    a, b = pair.nodes
    assert not b.exists('later.json')
    a.write('later.json', '{}')
    a.wait()
    assert b.exists('later.json')


def test_delete_disappears(pair):
    a, b = pair.nodes
    path = a.write('r.json', RECORD)
    pair.synced()
    assert b.exists('r.json')
    path.unlink()
    a.wait()
    eventually(lambda: not b.exists('r.json'), 5)


def test_rename_and_move(pair):
    a, b = pair.nodes
    a.write('old.json', RECORD)
    pair.synced()
    a.sh('mkdir sub; mv old.json sub/new.json')
    pair.synced()
    assert b.names() == ['sub'] and b.text('sub/new.json') == RECORD


def test_directory_with_contents_moves(pair):
    a, b = pair.nodes
    a.write('a/b/c.json', RECORD)
    pair.synced()
    b.sh('mv a/b moved')
    pair.synced()
    assert a.text('moved/c.json') == RECORD and a.names('a') == []


def test_empty_directory_and_its_end(pair):
    a, b = pair.nodes
    os.mkdir(a.path('empty'))
    pair.synced()
    assert b.path('empty').is_dir()
    os.rmdir(b.path('empty'))
    pair.synced()
    assert not a.exists('empty')


def test_symlink_and_executable_bit(pair):
    a, b = pair.nodes
    a.sh('echo "#!/bin/sh" > run; chmod 755 run; ln -s run link')
    pair.synced()
    assert os.readlink(b.path('link')) == 'run' and b.path('run').stat().st_mode & 0o111 == 0o111
    b.sh('chmod 644 run')
    pair.synced()
    assert a.path('run').stat().st_mode & 0o111 == 0


BYTES = {'empty': b'', 'invalid': b'{"bad":', 'binary': b'\xff\xfe\0', 'zeros': bytes(300000),
         'crlf': b'\r\n\r\n', 'json': b'{"a":1}'}


@pytest.mark.parametrize('content', BYTES)
@pytest.mark.parametrize('name', ['x.json', 'x.txt'])
def test_any_bytes_arrive_as_written(pair, name, content):
    a, b = pair.nodes
    a.write(name, BYTES[content])
    a.wait()
    assert b.read(name) == BYTES[content]


@pytest.mark.parametrize('name', ['ü' * 127, "it's", 'a b', '-rf', '日本語', 'x' * 255])
def test_unusual_names_arrive(pair, name):
    a, b = pair.nodes
    a.write(name, 'x')
    a.wait()
    assert b.names() == [name]


@pytest.mark.parametrize('name', ['new\nline', 'tab\tbed', 'bell\x07', '\u202egnp.exe', b'\xff\xfe'.decode(errors='surrogateescape')])
def test_dangerous_name_arrives_escaped(pair, name):
    a, b = pair.nodes
    a.write(name, 'x')
    a.wait()
    (shown,) = b.names()
    assert shown.isprintable() and b.text(shown) == 'x'


def test_symlink_out_of_the_mount_leads_nowhere(pair):
    a, b = pair.nodes
    os.symlink('/etc/hostname', a.path('absolute'))
    os.symlink('../../../../etc/hostname', a.path('climbing'))
    a.wait()
    for name in ('absolute', 'climbing'):
        target = os.path.realpath(b.path(name))
        assert not b.path(name).exists() or target.startswith(str(b.mnt)), target


def test_five_hundred_files(pair):
    a, b = pair.nodes
    for i in range(500):
        a.write(f'many/{i}.json', json.dumps({'n': i}))
    pair.synced()
    assert len(b.names('many')) == 500


def test_both_directions_at_once(pair):
    a, b = pair.nodes
    for i in range(50):
        a.write(f'a{i}.json', '{}')
        b.write(f'b{i}.json', '{}')
    pair.synced()
    assert len(a.names()) == 100


def test_three_devices_through_one(clusters):
    cluster = clusters(3)
    a, b, c = cluster.nodes
    b.write('from-b.json', '{}')
    b.wait()
    assert a.names() == c.names() == ['from-b.json']


# ---- offline ----------------------------------------------------------------------------------------

def test_local_work_goes_on_while_disconnected(pair):
    a, b = pair.nodes
    pair.cut()
    start = now()
    for i in range(50):
        b.write(f'{i}.json', '{}')
    assert now() - start < 5 and len(b.names()) == 50 and a.names() == []


def test_both_sides_catch_up_after_a_cut(pair):
    def edits(node):
        for i in range(20):
            node.write(f'{node.name}{i}.json', '{}')
    a, _ = offline_edits(pair, edits, edits)
    assert len(a.names()) == 40


def test_held_connection_catches_up(pair):
    a, b = pair.nodes
    pair.proxy().hold()
    a.write('r.json', RECORD)
    never(lambda: b.exists('r.json'), 0.3)
    pair.restore()
    pair.synced()


def test_slow_link_delivers_everything(pair):
    a, b = pair.nodes
    pair.proxy().delay = 0.05
    for i in range(20):
        a.write(f'{i}.json', '{}')
    pair.synced()
    assert len(b.names()) == 20


def test_fields_edited_on_each_side_are_both_kept(pair):
    a, b = pair.nodes
    a.write('r.json', RECORD)
    pair.synced()
    a, b = offline_edits(pair, lambda n: n.sh('sed -i s/open/done/ r.json'),
                         lambda n: n.sh('sed -i "s/: 2/: 7/" r.json'))
    assert a.text('r.json') == b.text('r.json') == RECORD.replace('open', 'done').replace('2', '7')
    assert a.status()['conflicts'] == 0


def test_fields_added_on_each_side_are_both_kept(pair):
    a, b = pair.nodes
    a.write('r.json', '{"x":0}')
    pair.synced()
    a, b = offline_edits(pair, lambda n: n.write('r.json', '{"x":0,"a":1}'),
                         lambda n: n.write('r.json', '{"x":0,"b":2}'))
    assert json.loads(a.text('r.json')) == {'x': 0, 'a': 1, 'b': 2} and a.read('r.json') == b.read('r.json')


def conflicting_priorities(pair):
    pair.nodes[0].write('r.json', RECORD)
    pair.synced()
    return offline_edits(pair, lambda n: n.sh('sed -i "s/: 2/: 3/" r.json'),
                         lambda n: n.sh('sed -i "s/: 2/: 4/" r.json'))


def test_same_field_on_each_side_has_one_winner_and_a_conflict(pair):
    a, b = conflicting_priorities(pair)
    assert a.read('r.json') == b.read('r.json') and json.loads(a.text('r.json'))['priority'] in (3, 4)
    for node in (a, b):
        assert node.status()['conflicts'] == 1 and node.xattr('r.json', 'blaze.conflicts') == '1'
        assert 'to review' in node.run('status').stdout


def test_same_value_on_each_side_is_no_conflict(pair):
    a, b = pair.nodes
    a.write('r.json', RECORD)
    pair.synced()
    a, _ = offline_edits(pair, *[lambda n: n.sh('sed -i "s/: 2/: 3/" r.json')] * 2)
    assert json.loads(a.text('r.json'))['priority'] == 3 and a.status()['conflicts'] == 0


def test_text_edited_on_each_side_has_one_winner_and_a_conflict(pair):
    a, b = pair.nodes
    a.write('t.txt', 'base\n')
    pair.synced()
    a, b = offline_edits(pair, lambda n: n.write('t.txt', 'from a\n'), lambda n: n.write('t.txt', 'from b\n'))
    assert a.text('t.txt') == b.text('t.txt') and a.text('t.txt') in ('from a\n', 'from b\n')
    assert a.status()['conflicts'] == b.status()['conflicts'] == 1


def test_save_that_saw_the_conflict_ends_it(pair):
    a, b = conflicting_priorities(pair)
    a.write('r.json', RECORD.replace('2', '9'))
    pair.synced()
    assert b.status()['conflicts'] == a.status()['conflicts'] == 0 and '9' in b.text('r.json')


def test_edit_wins_over_delete(pair):
    a, b = pair.nodes
    a.write('r.json', RECORD)
    pair.synced()
    a, b = offline_edits(pair, lambda n: os.unlink(n.path('r.json')), lambda n: n.sh('sed -i s/open/done/ r.json'))
    assert a.text('r.json') == b.text('r.json') == RECORD.replace('open', 'done')


def test_both_deletes_are_one(pair):
    a, b = pair.nodes
    a.write('r.json', RECORD)
    pair.synced()
    a, b = offline_edits(pair, *[lambda n: os.unlink(n.path('r.json'))] * 2)
    assert a.names() == b.names() == []


def test_removed_directory_reappears_with_what_was_put_in(pair):
    a, b = pair.nodes
    a.write('dir/old.json', RECORD)
    pair.synced()
    a, b = offline_edits(pair, lambda n: n.sh('rm -r dir'), lambda n: n.write('dir/new.json', '{}'))
    assert a.names('dir') == b.names('dir') == ['new.json']


def test_same_json_name_created_on_each_side_is_one_record(pair):
    a, b = offline_edits(pair, lambda n: n.write('users/alice.json', '{"a":1}'),
                         lambda n: n.write('users/alice.json', '{"b":2}'))
    assert a.names('users') == ['alice.json'] and json.loads(a.text('users/alice.json')) == {'a': 1, 'b': 2}


def test_same_text_name_created_on_each_side_loses_nothing(pair):
    a, b = offline_edits(pair, lambda n: n.write('t.txt', 'from a\n'), lambda n: n.write('t.txt', 'from b\n'))
    texts = {a.text(name) for name in a.names()}
    assert texts == {'from a\n', 'from b\n'} or (len(texts) == 1 and a.status()['conflicts'] == 1)


def test_moves_into_each_other_make_no_cycle(pair):
    a, b = pair.nodes
    a.write('x/in-x.json', '{}')
    a.write('y/in-y.json', '{}')
    pair.synced()
    a, b = offline_edits(pair, lambda n: n.sh('mv x y/'), lambda n: n.sh('mv y x/'))
    files = {p.rsplit('/', 1)[-1] for p, kind in a.tree().items() if kind != 'directory'}
    assert files == {'in-x.json', 'in-y.json'}


def test_record_renamed_on_each_side_has_one_name(pair):
    a, b = pair.nodes
    a.write('r.json', RECORD)
    pair.synced()
    a, b = offline_edits(pair, lambda n: n.sh('mv r.json a.json'), lambda n: n.sh('mv r.json b.json'))
    assert len(a.names()) == 1 and a.text(a.names()[0]) == RECORD


# ---- restarts ---------------------------------------------------------------------------------------

def test_restart_of_the_dialling_side(pair):
    a, b = pair.nodes
    b.stop()
    a.write('while-away.json', '{}')
    b.mount()
    pair.synced()
    assert b.exists('while-away.json')


def test_restart_of_the_listening_side(pair):
    a, b = pair.nodes
    a.stop()
    b.write('while-away.json', '{}')
    a.mount(listen=a.listen)
    pair.retarget()
    pair.synced()
    assert a.exists('while-away.json')


def test_returning_device_is_found_within_a_second(pair):
    a, b = pair.nodes
    a.stop()
    eventually(lambda: not is_connected(b), 10)
    a.mount(listen=a.listen)
    eventually(lambda: is_connected(b), 1, 'b finds a again')


def test_restored_link_is_found_soon(pair):
    pair.cut()
    pair.restore()
    eventually(lambda: is_connected(pair.nodes[1]), 5)


def test_killed_device_catches_up(pair):
    a, b = pair.nodes
    b.write('mine.json', '{}')
    b.kill9()
    a.write('theirs.json', '{}')
    b.mount()
    pair.synced()
    assert a.names() == ['mine.json', 'theirs.json']


def test_unmounted_changes_are_announced(pair):
    a, b = pair.nodes
    pair.cut()
    b.write('r.json', '{}')
    assert '1 change' in b.umount(code=3).stdout
    pair.restore()
    b.mount()
    pair.synced()


def test_status_names_the_peer_and_its_state(pair):
    a, b = pair.nodes
    a.write('r.json', '{}')
    pair.synced()
    (peer,) = eventually(lambda: [p for p in a.status()['peers'] if p['state'] == 'synced'])
    assert peer['name'] == 'device-b' and peer['behind'] == 0
    assert 'synced' in a.run('status').stdout and a.text('.blaze/state').strip() == 'synced'


def test_record_that_grows_too_large_keeps_its_last_version_elsewhere(pair):
    a, b = pair.nodes
    a.write('data.bin', b'small')
    pair.synced()
    with open(a.path('data.bin'), 'wb') as f:
        f.truncate((1 << 40) + 1)
    assert a.run('wait', '--timeout', '1s', code=None).returncode != 0
    assert b.read('data.bin') == b'small' and os.path.getsize(a.path('data.bin')) == (1 << 40) + 1
    a.write('data.bin', b'small again')
    pair.synced()
    assert b.read('data.bin') == b'small again'
