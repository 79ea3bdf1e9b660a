"""`blaze wait` and the verdict: one true sentence about what is where."""
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from blazetest.node import BIN
from blazetest.wait import SCALE, eventually, now


def test_wait_returns_when_the_other_device_has_everything(pair):
    a, b = pair.nodes
    for i in range(100):
        a.write(f'{i}.json', '{}')
    out = a.wait().stdout
    assert len(b.names()) == 100
    count = int(re.search(r'All (\d+) changes are on device-b', out)[1])
    assert count >= 100, out


def test_wait_times_out_with_4_while_disconnected(pair):
    a, b = pair.nodes
    pair.cut()
    a.write('r.json', '{}')
    start = now()
    assert 'device-b' in a.wait('300ms', code=4).stderr
    assert 0.25 < now() - start < 5


def test_wait_ends_when_the_link_returns(pair):
    a, _ = pair.nodes
    pair.cut()
    a.write('r.json', '{}')
    waiting = a.start('wait', '--timeout', '60s')
    pair.restore()
    assert waiting.communicate()[0] and waiting.returncode == 0


def test_wait_without_peers_does_not_claim_success(node):
    node.write('r.json', '{}')
    node.wait('1s', code=3)


def test_wait_counts_what_is_still_held_back(pair):
    a, b = pair.nodes
    a.write('r.json', '{"n":1}')
    a.wait()
    a.path('r.json').unlink()
    a.wait()
    assert b.names() == []


def test_wait_never_returns_early_while_a_writer_goes_on(pair):
    a, b = pair.nodes
    for i in range(30):
        a.write('r.json', f'{{"n":{i}}}')
        a.wait()
        assert b.text('r.json') == f'{{"n":{i}}}'


def test_wait_as_json(pair):
    a, _ = pair.nodes
    a.write('r.json', '{}')
    told = a.json('wait', '--timeout', '20s')
    assert told['v'] == 1 and told['synced'] is True and told['unsent'] == 0


def test_verdict_follows_the_link(pair):
    a, b = pair.nodes
    a.write('r.json', '{}')
    pair.synced()
    eventually(lambda: a.status()['state'] == 'synced')
    pair.cut()
    a.write('r.json', '{"n":2}')
    assert eventually(lambda: a.status()['state'] == 'offline')
    assert '1 change waits for device-b' in a.run('status').stdout
    a.run('status', '--check', code=3)
    pair.restore()
    pair.synced()
    assert eventually(lambda: a.status()['state'] == 'synced')


def test_umount_can_wait_for_the_others(pair):
    a, b = pair.nodes
    b.write('r.json', '{}')
    assert 'device-a' in b.umount('--wait=20s').stdout
    assert a.text('r.json') == '{}'


@pytest.mark.parametrize('timeout', ['0', '1ms', '0.5s'])
def test_durations_are_understood(pair, timeout):
    pair.synced()
    pair.nodes[0].wait(timeout, code=None)


def test_wait_does_not_claim_success_after_an_unmount(pair):
    a, b = pair.nodes
    pair.cut()
    a.write('r.json', '{}')
    waiting = a.start('wait', '--timeout', '5s')  # it may find no mount any more, and then waits by itself
    eventually(lambda: any('socket' in os.readlink(f) for f in Path(f'/proc/{waiting.pid}/fd').iterdir()))
    a.stop()
    told = waiting.communicate()[0]
    assert waiting.returncode in (1, 4, 11) and '\nblaze: ' in f'\n{told}', told


def test_wait_on_a_terminal_says_what_is_left(pair):
    a, _ = pair.nodes
    pair.cut()
    for k in range(3):
        a.write(f'{k}.json', '{}')
    ours, theirs = pty.openpty()
    with subprocess.Popen([BIN, 'wait', a.database], env=a.env, stdin=subprocess.DEVNULL, stdout=theirs,
                          stderr=subprocess.STDOUT, start_new_session=True) as waiting:
        os.close(theirs)
        told = b''
        while b'left' not in told.rpartition(b'\r')[2] or b'device-b' not in told:
            told += os.read(ours, 4096)
        assert re.search(rb'\r3 changes \(.*B\) left to device-b (offline|connecting)', told), told
        pair.restore()
        assert waiting.wait(20 * SCALE) == 0
        told += os.read(ours, 4096)
    os.close(ours)
    assert b'\r\x1b[KAll 3 changes are on device-b' in told


def test_wait_elsewhere_prints_one_line(pair):
    a, _ = pair.nodes
    pair.cut()
    a.write('r.json', '{}')
    waiting = a.start('wait', a.database)
    eventually(lambda: any('socket' in os.readlink(f) for f in Path(f'/proc/{waiting.pid}/fd').iterdir()))
    pair.restore()
    assert waiting.communicate()[0].count('\n') == 1 and waiting.returncode == 0


def test_status_says_how_fast_it_goes_while_something_is_under_way(pair):
    a, b = pair.nodes
    a.write('r.json', '{}')
    pair.synced()
    for node in pair.nodes:
        assert eventually(lambda n=node: n.status()['state'] == 'synced')
        assert node.status()['rates'] == []
        assert '/s' not in node.run('status').stdout
    pair.proxy().delay = 0.1  # for each 64 KiB
    a.path('d').mkdir()
    for n in range(40):
        a.path(f'd/{n}.bin').write_bytes(os.urandom(100_000))

    def rate(node, key):
        return next((r for r in node.status()['rates'] if r[key] and r['path'] == 'direct'), None)

    out = eventually(lambda: rate(a, 'up_bytes_per_second'), 20, 'a says how fast it sends')
    assert out['name'] == 'device-b' and out['seconds_left'] > 0
    assert re.search(r'^  device-b  [\d.]+ [kM]?B/s out, [\d.]+ [kM]?B/s in', a.run('status').stdout, re.M)
    eventually(lambda: rate(b, 'down_bytes_per_second'), 20, 'b says how fast it receives')
    pair.proxy().delay = 0.0
    pair.synced()
    for node in pair.nodes:
        eventually(lambda n=node: n.status()['rates'] == [] and '/s' not in n.run('status').stdout, 10,
                   'nothing is under way any more')
