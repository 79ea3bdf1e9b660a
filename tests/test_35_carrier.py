"""Several databases of one device: one port, one connection to each other device, and nothing else in common."""
import os
import re
import signal
import threading

import pytest

from blazetest import Cluster, Node, eventually
from blazetest.cluster import Invitation, is_connected
from blazetest.proxy import Proxy
from blazetest.stranger import replay

CARRIES = 'carrying the connections of this home'
ESTABLISHED = '01'


def connections(port):
    """How many TCP connections this machine's listeners on that port have now."""
    found = 0
    with open('/proc/net/tcp', encoding='ascii') as f:
        for line in list(f)[1:]:
            fields = line.split()
            found += int(fields[1].split(':')[1], 16) == port and fields[3] == ESTABLISHED
    return found


class Homes:
    """Two devices, `a` that listens and `b` that dials it through a proxy, with as many databases as there are names."""

    def __init__(self, directory, databases, **env):
        self.a, self.b, self.proxy = [], [], None
        self.directory, self.env = directory, env
        try:
            for database in databases:
                self.share(database)
        except BaseException:
            self.discard()
            raise

    def share(self, database):
        """Makes a database on a, pairs b with it, mounts both; a always at the same port."""
        a = self.a[0].beside(database) if self.a else Node(self.directory, 'a', database)
        self.a.append(a)
        a.env.update(self.env)
        a.run('init', *([] if self.proxy else ['--name', 'device-a']), database)
        a.mount(listen=self.a[0].listen or '127.0.0.1:0')
        if not self.proxy:
            self.proxy = Proxy(a.listen)
        b = self.b[0].beside(database) if self.b else Node(self.directory, 'b', database)
        self.b.append(b)
        if len(self.b) == 1:
            b.env.update(self.env)
            b.preload.append('redirect')
            rule = b.directory / 'redirect'
            b.env['REDIRECT_RULE'] = str(rule)
            rule.write_text(' '.join(x.rsplit(':', 1)[1] for x in (a.listen, self.proxy.address)) + '\n')
        with Invitation(a, database) as invitation:
            b.run('pair', *(['--name', 'device-b'] if len(self.b) == 1 else []), invitation.link)
            invitation.accepted()
        b.mount(listen='none')

    @property
    def nodes(self):
        return self.a + self.b

    @property
    def port(self):
        return int(self.proxy.target.rsplit(':', 1)[1])

    def synced(self):
        for a, b in zip(self.a, self.b):
            Cluster.synced(None, a, b)
        return self

    def one_connection(self):
        eventually(lambda: connections(self.port) == 1 and all(is_connected(n) for n in self.nodes), 20,
                   'all are connected, with one connection')
        return self

    def close(self):
        for node in reversed(self.nodes):
            node.close()
        self.proxy.close()

    def discard(self):
        for node in self.nodes:
            node.discard()
        if self.proxy:
            self.proxy.close()


@pytest.fixture
def homes(directory, request):
    made = []

    def make(*databases, **env):
        made.append(Homes(directory, databases, **env))
        return made[-1]

    yield make
    try:
        if not getattr(request.node, 'blaze_failed', False):
            for h in made:
                h.close()
    finally:
        for h in made:
            h.discard()


def said(node, text):
    return text in node._log.read_text()


def carrier(nodes):
    """The one of a home's mounts that has its connections: whoever said so last of those that run."""
    running = [n for n in nodes if n.process]
    return max((n for n in running if said(n, CARRIES)),
               key=lambda n: re.findall(f'(.*){CARRIES}', n._log.read_text())[-1])


def others(nodes, one):
    return [n for n in nodes if n is not one]


# ---- one of everything ---------------------------------------------------------------------------

def test_second_mount_may_have_the_same_port(homes):
    h = homes('work', 'mail')
    assert h.a[0].listen == h.a[1].listen
    h.a[0].write('one.json', '{"of":"work"}')
    h.b[1].write('two.json', '{"of":"mail"}')
    h.synced().one_connection()
    assert h.b[0].text('one.json') == '{"of":"work"}' and not h.b[0].exists('two.json')
    assert h.a[1].text('two.json') == '{"of":"mail"}' and not h.a[1].exists('one.json')


def test_any_port_is_the_one_there_is(homes):
    h = homes('work')
    more = h.a[0].beside('more')
    h.a.append(more)
    more.run('init', 'more')
    more.mount(listen='127.0.0.1:0')
    assert more.listen == h.a[0].listen
    h.a.pop().close()


def test_second_address_is_listened_on_as_well(homes):
    h = homes('work')
    more = h.a[0].beside('more')
    h.a.append(more)
    more.run('init', 'more')
    more.mount(listen='[::1]:0')
    assert more.listen.startswith('[::1]:') and connections(h.port) == 1
    h.a.pop().close()


def test_port_of_another_program_is_an_error(homes):
    h = homes('work')
    more = h.a[0].beside('more')
    h.a.append(more)
    more.run('init', 'more')
    done = more.run('mount', 'more', more.mnt, '--listen', h.proxy.address, code=1)
    assert 'in use' in done.stderr, done.stderr
    h.a.pop().close()


def test_commands_say_the_same_for_all(homes):
    h = homes('work', 'mail').synced().one_connection()
    for node in h.nodes:
        peer = node.status()['peers'][0]
        other = 'device-b' if node in h.a else 'device-a'
        assert peer['name'] == other and peer['path'] == 'direct' and peer['endpoint'].startswith('127.0.0.1:')
        assert node.json('ping', other, node.database)['path'] == 'direct'
        assert other in node.run('topology', node.database).stdout
        assert ' synced ' in node.run('status', node.database).stdout


def test_five_databases_and_one_connection(homes):
    h = homes(*'abcde')
    for i, node in enumerate(h.nodes):
        node.write(f'{i}.json', '{"n":%d}' % i)
    h.synced().one_connection()


def test_one_machine_needs_one_socket(homes, directory):
    runtime = directory / 'r'
    runtime.mkdir(mode=0o700)
    h = homes('work', 'mail', BLAZE_LOCAL='1', XDG_RUNTIME_DIR=str(runtime))
    h.synced()
    for node in h.nodes:
        eventually(lambda n=node: n.status()['peers'][0]['path'] == 'local', 20, f'{node.name} found the socket')
    assert len(list((runtime / 'blaze' / 'net').glob('*.sock'))) == 2
    eventually(lambda: connections(h.port) == 0, 20, 'the other connections are closed')


# ---- coming and going ----------------------------------------------------------------------------

def test_mounting_and_unmounting_one_does_not_disturb_the_other(homes):
    h = homes('work', 'mail').synced().one_connection()
    before = h.proxy.connections
    for i in range(3):
        h.a[1].stop()
        h.b[0].write(f'{i}.json', '{"n":%d}' % i)
        Cluster.synced(None, h.a[0], h.b[0])
        h.a[1].mount()
        h.a[1].write(f'{i}.json', '{"n":%d}' % i)
        Cluster.synced(None, h.a[1], h.b[1])
    assert h.proxy.connections == before
    h.one_connection()


@pytest.mark.parametrize('side', 'ab')
def test_when_the_carrier_is_unmounted_another_one_takes_over(homes, side):
    h = homes('work', 'mail').synced()
    mine, peers = (h.a, h.b) if side == 'a' else (h.b, h.a)
    first = carrier(mine)
    left = others(mine, first)[0]
    first.stop()
    assert eventually(lambda: carrier(mine), 10) is left
    left.write('after.json', '{"n":1}')
    peer = peers[mine.index(left)]
    Cluster.synced(None, left, peer)
    assert peer.text('after.json') == '{"n":1}'
    first.mount()
    h.synced().one_connection()
    assert carrier(mine) is left


class Writer(threading.Thread):
    """Writes numbered files until it is stopped, or the mount is gone; `kept` are those whose close returned."""

    def __init__(self, node, prefix):
        super().__init__(daemon=True)
        self.node, self.prefix, self.kept, self.ending = node, prefix, [], threading.Event()
        self.start()

    def run(self):
        try:
            while not self.ending.is_set():
                name = f'{self.prefix}{len(self.kept)}.json'
                self.node.write(name, '{"n":%d}' % len(self.kept))
                self.kept.append(name)
        except OSError:
            pass

    def stop(self):
        self.ending.set()
        self.join(30)
        return self.kept


@pytest.mark.parametrize('side', 'ab')
def test_nothing_is_lost_when_the_carrier_is_killed(homes, side):
    h = homes('work', 'mail', 'third')
    mine = h.a if side == 'a' else h.b
    for _ in range(2):
        victim = carrier(mine)
        writers = {n: Writer(n, f'{n.name}-{os.urandom(3).hex()}-') for n in h.nodes}
        eventually(lambda w=writers: all(len(x.kept) > 5 for x in w.values()), 20)
        victim.kill9([writers[victim]])
        seen = {n: len(w.kept) for n, w in writers.items()}
        heir = eventually(lambda: carrier(mine), 10, 'another mount carries')
        assert heir is not victim
        eventually(lambda w=writers, s=seen: all(len(w[n].kept) > s[n] for n in h.nodes if n is not victim), 20)
        kept = {n: w.stop() for n, w in writers.items()}
        victim.mount()
        h.synced()
        for a, b in zip(h.a, h.b):
            names = set(a.names())
            assert names >= set(kept[a]) | set(kept[b])
    h.one_connection()


def test_every_mount_may_die_in_turn(homes):
    h = homes('work', 'mail')
    for i in range(6):
        victim = h.nodes[i % 4]
        victim.write(f'{i}.json', '{"n":%d}' % i)
        victim.kill9()
        victim.mount()
    h.synced().one_connection()


def test_all_killed_at_once_find_each_other_again(homes):
    h = homes('work', 'mail')
    for node in h.nodes:
        node.write(f'{node.name}.json', '{}')
    for node in h.nodes:
        os.killpg(node.process.pid, signal.SIGKILL)
    for node in h.nodes:
        node.process.wait()
        node.process = None
        node.detach()
    for node in reversed(h.nodes):
        node.mount()
    h.synced().one_connection()


def test_frozen_carrier_keeps_no_program_waiting(homes):
    h = homes('work', 'mail').synced()
    frozen = carrier(h.a)
    free = others(h.a, frozen)[0]
    os.killpg(frozen.process.pid, signal.SIGSTOP)
    try:
        for i in range(20):
            free.write(f'{i}.json', '{"n":%d}' % i)
        assert free.text('19.json') == '{"n":19}'
        assert free.run('status', free.database, code=None).returncode in (0, 1, 3, 4)
    finally:
        os.killpg(frozen.process.pid, signal.SIGCONT)
    h.synced().one_connection()


# ---- networks ------------------------------------------------------------------------------------

def test_partition_and_both_databases_heal(homes):
    h = homes('work', 'mail').synced()
    h.proxy.cut()
    for node in h.nodes:
        eventually(lambda n=node: not is_connected(n), 20, f'{node.name} notices')
        node.write(f'{node.name}.json', '{}')
    h.proxy.restore()
    h.synced().one_connection()


def test_line_that_goes_dead_is_left_by_all(homes):
    h = homes('work', 'mail').synced()
    h.proxy.hold()
    for node in h.b:
        node.write('waits.json', '{}')
    for node in h.b:
        eventually(lambda n=node: not is_connected(n), 40, f'{node.name} gives it up')
    h.proxy.restore()
    h.synced().one_connection()


def test_a_third_device_shares_one_of_them(homes, directory):
    h = homes('work', 'mail')
    c = Node(directory, 'c')
    h.b.append(c)
    with Invitation(h.a[0], 'work') as invitation:
        c.run('pair', '--name', 'device-c', invitation.link)
        invitation.accepted()
    c.mount(listen='none')
    h.a[1].write('secret.json', '{}')
    c.write('from-c.json', '{}')
    Cluster.synced(None, h.a[0], h.b[0], c)
    Cluster.synced(None, h.a[1], h.b[1])
    assert not c.exists('secret.json')
    assert {p['name'] for p in h.a[1].status()['peers']} == {'device-b'}
    assert {p['name'] for p in h.a[0].status()['peers']} == {'device-b', 'device-c'}
    h.b.pop().close()
    h.one_connection()


# ---- rights --------------------------------------------------------------------------------------

def refusal(node):
    eventually(lambda: node.status()['peers'][0]['last_error'], 20)
    return node.status()['peers'][0]['last_error']


def test_who_was_removed_from_one_database_goes_on_with_the_other(homes):
    """b shares both, is removed from one, and comes by for it through the connection that it has for the other."""
    h = homes('work', 'mail').synced().one_connection()
    before = h.proxy.connections
    h.b[1].allow('.*this device was removed.*', '.*not talked to.*', '.*cut off.*')
    h.a[1].allow('.*was removed.*')
    h.a[1].run('devices', '--remove', 'device-b', '--yes', h.a[1].mnt)
    eventually(lambda: not is_connected(h.b[1]), 20)
    h.a[1].stop()
    assert 'does not know this device' in refusal(h.b[1])
    h.b[0].write('goes-on.json', '{}')
    Cluster.synced(None, h.a[0], h.b[0])
    assert h.proxy.connections == before


def test_pairing_reaches_the_mount_that_invites(homes, directory):
    """Codes and links of all mounts of a home are used at the one port."""
    h = homes('work', 'mail', 'third')
    joined = []
    try:
        for i, a in enumerate(h.a):
            c = Node(directory, f'c{i}')
            joined.append(c)
            with Invitation(a, a.database) as invitation:
                c.run('pair', '--name', f'device-c{i}', '--at', a.listen, invitation.code)
                invitation.accepted()
            c.database = a.database
            c.mount(listen='none')
            Cluster.synced(None, a, c)
        for c in joined:
            c.close()
    finally:
        for c in joined:
            c.discard()


def test_rider_counts_who_fails_by_the_address_they_come_from(homes):
    """LIMITS: the carrier says where a lane is from; only the database it is for knows in whose name it fails."""
    h = homes('work', 'mail').synced().one_connection()
    first = carrier(h.a)
    rider = others(h.a, first)[0]
    i = h.a.index(rider)
    h.b[1 - i].stop()
    h.proxy.cut()
    eventually(lambda: not is_connected(h.b[i]), 20)
    h.proxy.record()
    h.proxy.restore()
    eventually(lambda: is_connected(h.b[i]), 20)
    recorded = bytes(h.proxy.up)
    assert [replay(rider, recorded) for _ in range(11)] == [0] * 10 + [7]
    assert said(rider, '10 handshakes in its name from 127.0.0.1 have failed')
    assert not said(first, 'handshakes')
    rider.write('goes-on.json', '{}')
    Cluster.synced(None, rider, h.b[i])
    h.b[1 - i].mount()
    h.synced().one_connection()


# ---- what may be wrong ---------------------------------------------------------------------------

def test_home_whose_lock_cannot_be_had_goes_on_alone(device):
    device.init()
    (device.home / 'net.lock').mkdir()
    device.allow('.*cannot share connections.*')
    device.mount(listen='127.0.0.1:0')
    assert device.listen
    device.write('x.json', '{}')


def test_socket_left_by_the_dead_is_replaced(device):
    device.init().mount()
    device.kill9()
    assert (device.home / 'net.sock').exists()
    device.mount()
    assert not said(device, 'cannot share')
    device.stop()
    assert not (device.home / 'net.sock').exists()


def test_long_home_is_no_obstacle(directory, request):
    deep = directory / ('x' * 60) / ('y' * 60)
    deep.mkdir(parents=True)
    h = Homes(deep, ['work', 'mail'])
    try:
        h.synced().one_connection()
        h.close()
    finally:
        h.discard()
