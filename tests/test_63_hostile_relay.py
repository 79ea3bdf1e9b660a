"""A relay that shows different things to different devices, has lost what it was given, or has no room."""
import shutil
import subprocess

import pytest

from blazetest.node import BUILD
from blazetest.relay import Relay, relays_of, wait_idle
from blazetest.wait import eventually

WARNING = r'blaze warning: relay ws://127\.0\.0\.1:\d+.*'
DAY = 24 * 3600


@pytest.fixture
def relays(directory):
    """Made by relays(name, ...); all end with the test."""
    made = []

    def make(name='relay', *args, **kw):
        made.append(Relay(directory, name, **kw))
        return made[-1].start(*args)

    make.all = made
    yield make
    for relay in made:
        relay.kill9()


LIAR = BUILD / 'tests' / 'hostile' / 'relay'


def clone(relays, relay, lie):
    """A second relay with the same keys and the same store, at another port: together they are one that has two faces."""
    relay.stop()
    twin = relays('twin', program=LIAR).kill9()
    shutil.rmtree(twin.home)
    shutil.copytree(relay.home, twin.home)
    relay.start()
    twin.env['HOSTILE'] = str(twin.directory / 'lie')
    (twin.directory / 'lie').write_text(lie)
    return twin.start()


def port(relay):
    return relay.listen.rsplit(':', 1)[1]


def redirect(node, source, target):
    with open(node.env['REDIRECT_RULE'], 'a', encoding='utf-8') as f:
        f.write(f'{port(source)} {port(target)}\n')


def alarm(node, relay):
    return next(r['alarm'] for r in relays_of(node) if r['address'] == relay.shown)


@pytest.fixture
def three(clusters, relays):
    """Three devices without a way to each other but two relays, of which the first has two faces: show() its other one to the
    third device."""
    cluster = clusters(3)
    cluster.cut()
    two_faced, honest = relays('relay0'), relays('relay1')
    for node in cluster.nodes:
        node.allow(WARNING)
        node.env['BLAZE_RELAY_PATIENCE_MS'] = '500'
        node.stop()
    cluster.nodes[0].mount(listen='127.0.0.1:0')
    for node in cluster.nodes[1:]:
        node.mount()
    for node in cluster.nodes:
        for relay in (two_faced, honest):
            node.run('relay', 'add', relay.address, node.database)
    wait_idle(*cluster.nodes, count=2)

    def show(lie=''):
        c = cluster.nodes[2].stop()
        redirect(c, two_faced, clone(relays, two_faced, lie))
        c.mount()
        wait_idle(*cluster.nodes, count=2)
        return *cluster.nodes, two_faced, honest
    return show


def test_withholding_is_seen_through_the_other_relay(three):
    """What c is not shown there, and cannot put there, b was shown, and says so at the other relay."""
    a, b, c, two_faced, honest = three('full')
    a.write('r.json', '{"n": 1}\n')
    eventually(lambda: b.exists('r.json') and c.exists('r.json'), 20, 'one relay that tells the truth is enough')
    eventually(lambda: 'keeps back' in alarm(c, two_faced), 20)
    assert not alarm(c, honest) and not alarm(a, honest)
    assert c.run('relay', c.database).stdout.count('not to be trusted: it keeps back') == 1


def test_fork_is_seen_through_the_other_relay(three):
    """Both faces went on, each with something else: two logs with one name."""
    a, b, c, two_faced, honest = three()
    c.write('c.json', '{"n": 3}\n')
    a.write('a.json', '{"n": 1}\n')
    for node in (a, b, c):
        node.wait()
        eventually(lambda n=node: n.names() == ['a.json', 'c.json'], 20)
    eventually(lambda: any('another log' in alarm(n, two_faced) for n in (a, b, c)), 20)
    assert not any(alarm(n, honest) for n in (a, b, c))


def test_what_went_with_age_is_filled_in_again(pair, directory, relays):
    """REFILL: a device that was away for longer than the relay keeps things."""
    clock = directory / 'clock'
    relay = relays('relay', program=LIAR).kill9()
    relay.env['HOSTILE_CLOCK'] = str(clock)
    relay.start()
    pair.cut()
    a, b = pair.nodes
    for node in pair.nodes:
        node.run('relay', 'add', relay.address, node.database)
    wait_idle(a, b)
    b.stop()
    for n in range(20):
        a.write(f'{n}.json', f'{{"n": {n}}}\n')
    a.write('large.bin', b'0123456789abcdef' * 100000)
    wait_idle(a)
    relay.stop()
    clock.write_text(str(91 * DAY))
    relay.start()
    wait_idle(a)
    a.write('new.json', '{"n": "new"}\n')
    wait_idle(a)
    b.mount()
    eventually(lambda: b.exists('new.json') and a.tree() == b.tree(), 30)
    wait_idle(a, b)
    assert all(r['alarm'] == '' and r['refused'] == 0 for n in (a, b) for r in relays_of(n)), 'and no lie'


def test_full_mailbox_makes_room_of_what_all_have(pair, relays):
    relay = relays('relay', '--mailbox-items', '30')
    pair.cut()
    a, b = pair.nodes
    for node in pair.nodes:
        node.run('relay', 'add', relay.address, node.database)
    wait_idle(a, b)
    for n in range(100):
        a.write('r.json', f'{{"n": {n}}}\n')
        eventually(lambda n=n: b.exists('r.json') and b.text('r.json') == f'{{"n": {n}}}\n', 20)
    wait_idle(a, b)
    assert relays_of(a)[0]['cursor'] >= 100


@pytest.mark.root
def test_disk_that_is_full(pair, directory, relays):
    """The relay says so, whoever puts keeps what it has, and all goes on when there is room."""
    relay = relays()
    relay.stop()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=48m,mode=700', 'tmpfs', relay.home], check=True)
    try:
        relay.run('setup', '--listen', relay.listen)
        relay.start()
        pair.cut()
        a, b = pair.nodes
        for node in pair.nodes:
            node.run('relay', 'add', relay.address, node.database)
        wait_idle(a, b)
        fill = relay.home / 'fill'
        with open(fill, 'wb') as f, pytest.raises(OSError):
            while True:
                f.write(bytes(1 << 16))
                f.flush()
        for n in range(10):
            a.write(f'{n}.json', f'{{"n": {n}}}\n')
        a.write('large.bin', b'0123456789abcdef' * 100000)
        eventually(lambda: 'full' in relays_of(a)[0]['error'] or 'disk' in relays_of(a)[0]['error'], 20)
        assert not b.exists('large.bin')
        fill.unlink()
        eventually(lambda: b.exists('large.bin') and a.tree() == b.tree(), 30)
        wait_idle(a, b)
        assert all(r['alarm'] == '' for n in (a, b) for r in relays_of(n))
        relay.stop()
    finally:
        relay.kill9()
        subprocess.run(['umount', relay.home], check=True)
