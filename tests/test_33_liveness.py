"""Is the other device still there? `blaze ping`, and connections that die without a word."""
import json
import os
import signal

import pytest

from blazetest import eventually
from blazetest.cluster import is_connected
from blazetest.wait import SCALE, now, pause


def freeze(node):
    os.killpg(node.process.pid, signal.SIGSTOP)


def thaw(node):
    os.killpg(node.process.pid, signal.SIGCONT)


def test_ping_says_how_long_and_through_what(pair):
    a, b = pair.nodes
    line = a.run('ping', 'device-b').stdout
    assert line.startswith('device-b: ') and ' ms, direct, ' in line
    answers = [json.loads(s)
               for s in b.run('ping', 'device-a', '--json', '--count', '3', b.mnt).stdout.splitlines()]
    assert len(answers) == 3
    for answer in answers:
        assert answer['name'] == 'device-a' and answer['path'] == 'direct' and 0 < answer['rtt_ms'] < 5000


def test_ping_of_nobody_and_without_a_name(pair):
    a = pair.nodes[0]
    assert 'no device nobody here' in a.run('ping', 'nobody', code=1).stderr
    assert 'which device' in a.run('ping', code=2).stderr


def test_ping_takes_the_way_the_messages_take(pair):
    a, _ = pair.nodes
    pair.proxy().delay = 0.2
    assert a.json('ping', 'device-b')['rtt_ms'] > 390


def test_ping_of_a_frozen_device_and_of_one_that_is_gone(pair):
    a, b = pair.nodes
    a.run('ping', '--timeout', '20s', 'device-b')
    freeze(b)
    try:
        assert 'does not answer' in a.run('ping', '--timeout', '500ms', 'device-b', code=4).stderr
    finally:
        thaw(b)
    a.run('ping', '--timeout', '20s', 'device-b')
    pair.cut()
    assert 'device-b is offline' in a.run('ping', '--timeout', '500ms', 'device-b', code=4).stderr


def test_ping_without_a_mount_connects_for_it(pair):
    _, b = pair.nodes
    b.stop()
    assert b.run('ping', '--timeout', '20s', 'device-a', b.database).stdout.startswith('device-a: ')


def test_line_that_swallows_everything_is_given_up(pair):
    """No byte comes through, and no end either: a pulled cable, a firewall that forgot."""
    a, b = pair.nodes
    eventually(lambda: is_connected(a) and is_connected(b))
    pair.proxy().hold()
    b.write('meanwhile.json', '{"n":1}')
    eventually(lambda: not is_connected(b), 30, 'b gives the dead line up')
    assert b.status()['peers'][0]['last_error']
    eventually(lambda: not is_connected(a), 30, 'a, which has nothing to say, too')
    pair.restore()
    pair.synced(deadline=30)
    assert a.text('meanwhile.json') == '{"n":1}'


@pytest.mark.timeout(180)
def test_frozen_device_stops_nobody_and_catches_up(pair):
    a, b = pair.nodes
    eventually(lambda: is_connected(a) and is_connected(b))
    freeze(b)
    try:
        start = now()
        for i in range(50):
            a.write(f'{i}.json', '{"n":%d}' % i)
            a.path(f'{i}.json').unlink() if i % 2 else None
        assert now() - start < 10 * SCALE
        eventually(lambda: not is_connected(a), 30, 'the frozen device is given up')
    finally:
        thaw(b)
    pair.synced(deadline=40)
    assert sorted(p.name for p in b.mnt.iterdir()) == sorted(f'{i}.json' for i in range(0, 50, 2))


def test_idle_line_costs_ten_bytes_a_second(pair):
    """One PING and its answer, in records of their own size, every ten seconds."""
    a, _ = pair.nodes
    a.run('ping', 'device-b')
    proxy = pair.proxy()
    before = None

    def is_quiet():
        nonlocal before
        last, before = before, proxy.passed
        return last == before
    eventually(is_quiet, 20, every=0.5)
    a.run('ping', 'device-b')
    cost = proxy.passed - before
    assert 0 < cost <= 100, f'{cost} bytes for a PING and its answer'
    before = proxy.passed
    pause(21)
    assert 0 < proxy.passed - before <= 220, f'{proxy.passed - before} bytes in 21 s: does only one side ask?'
