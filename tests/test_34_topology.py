"""Who talks to whom: devices find each other, in the pattern that was set, and pass on what others cannot say."""
import json

import pytest

from blazetest import Cluster, Node, eventually
from blazetest.cluster import Invitation
from blazetest.namespace import Cables
from blazetest.relay import Relay, wait_idle
from blazetest.wait import now


def connected(node):
    """Names of the devices this one is connected to."""
    return {p['name'] for p in node.status()['peers'] if p['state'] in ('syncing', 'synced')}


def join(inviter, node, **kw):
    with Invitation(inviter) as invitation:
        node.run('pair', '--name', f'device-{node.name}', invitation.link)
        invitation.accepted()
    return node.mount(**kw)


@pytest.fixture
def devices(directory, request):
    """Three that listen; b and c were both invited by a, and never heard of each other from a person."""
    made = [Node(directory, name) for name in 'abc']
    try:
        made[0].init().mount(listen='127.0.0.1:0')
        for node in made[1:]:
            join(made[0], node, listen='127.0.0.1:0')
        yield made
        if not getattr(request.node, 'blaze_failed', False):
            for node in reversed(made):
                node.close()
    finally:
        for node in made:
            node.discard()


def synced(*nodes):
    Cluster.synced(None, *nodes)


def test_all_devices_of_a_mesh_find_each_other(devices):
    a, b, c = devices
    eventually(lambda: connected(b) == {'device-a', 'device-c'} and connected(c) == {'device-a', 'device-b'}, 20)
    a.stop()
    b.write('without-a.json', '{"n":1}')
    eventually(lambda: c.text('without-a.json') == '{"n":1}', 10, 'b and c need nobody')
    c.write('back.json', '{"n":2}')
    a.mount()
    synced(a, b, c)


def test_device_at_another_address_is_found_through_a_third(devices):
    a, b, c = devices
    eventually(lambda: connected(b) == {'device-a', 'device-c'}, 20)
    b.stop()
    c.remount(listen='127.0.0.2:0')
    eventually(lambda: connected(a) == {'device-c'}, 20)
    eventually(lambda: any(address.startswith('127.0.0.2:') for link in a.json('topology')['links']
                           for address in link['addresses']), 10)
    b.mount()
    eventually(lambda: connected(b) == {'device-a', 'device-c'}, 20)
    synced(a, b, c)


def test_pattern_changes_while_all_run(devices):
    a, b, c = devices
    eventually(lambda: connected(b) == {'device-a', 'device-c'}, 20)
    shown = b.run('topology', 'set', 'star', 'device-a').stdout
    assert shown.startswith('pattern: star — all devices talk to device-a\n')
    for leaf in (b, c):
        eventually(lambda n=leaf: connected(n) == {'device-a'}, 20, 'leaves talk to the centre only')
    assert connected(a) == {'device-b', 'device-c'}
    b.write('through-the-centre.json', '{"n":1}')
    eventually(lambda: c.text('through-the-centre.json') == '{"n":1}', 10)
    synced(a, b, c)
    assert 'through the centre' in c.run('topology').stdout
    c.run('topology', 'set', 'mesh')
    eventually(lambda: connected(b) == {'device-a', 'device-c'}, 20)


def test_pattern_of_one_device_only(devices):
    a, b, c = devices
    a.run('topology', 'set', 'star', 'device-a', a.mnt)
    eventually(lambda: connected(b) == {'device-a'} and connected(c) == {'device-a'}, 20)
    b.run('topology', 'set', '--here', 'mesh')
    assert b.json('topology')['source'] == 'here' and c.json('topology')['source'] == 'shared'
    eventually(lambda: connected(b) == {'device-a', 'device-c'}, 20, 'who does not dial is dialled')
    b.run('topology', 'set', '--here', 'default')
    eventually(lambda: connected(b) == {'device-a'}, 20)
    assert b.json('topology')['source'] == 'shared'


def test_pattern_is_there_for_who_was_away(devices):
    a, b, c = devices
    eventually(lambda: connected(b) == {'device-a', 'device-c'}, 20)
    c.stop()
    a.run('topology', 'set', 'star', 'device-b')
    eventually(lambda: b.json('topology')['pattern'] == 'star', 10)
    c.mount()
    eventually(lambda: connected(c) == {'device-b'} and connected(a) == {'device-b'}, 20)
    assert c.json('topology')['centre'] == 'device-b'


def test_topology_in_the_mount(devices):
    a, b, _ = devices
    eventually(lambda: connected(a) == {'device-b', 'device-c'}, 20)
    found = json.loads(a.text('.blaze/topology.json'))
    assert found['pattern'] == 'mesh' and found['source'] == 'default' and found['centre'] is None
    assert found['device']['name'] == 'device-a' and found['device']['addresses'] == [a.listen]
    links = {link['name']: link for link in found['links']}
    assert set(links) == {'device-b', 'device-c'}
    assert links['device-b']['connected'] and links['device-b']['path'] == 'direct'
    assert links['device-b']['addresses'] == [b.listen]
    dot = a.text('.blaze/topology.dot')
    assert dot.startswith('graph blaze {\n') and dot.endswith('}\n') and dot.count(' -- ') == 2
    assert dot.count('style=solid') == 2 and 'label="device-b"' in dot
    b.stop()
    eventually(lambda: 'style=dashed' in a.text('.blaze/topology.dot'), 20)
    assert '·· device-b' in a.run('topology').stdout


@pytest.fixture
def relay(directory):
    made = Relay(directory).start()
    yield made
    try:
        made.stop()
    finally:
        made.kill9()


def test_hub_needs_a_relay_and_uses_nothing_else(devices, relay):
    a, b, c = devices
    a.run('relay', 'add', relay.address, a.database)  # all devices hear of it
    wait_idle(*devices)
    assert 'talk only through relays' in a.run('topology', 'set', 'hub').stdout
    for node in devices:
        eventually(lambda n=node: not connected(n), 20, 'no direct connection is left')
    b.write('through-the-relay.json', '{"n":1}')
    eventually(lambda: a.text('through-the-relay.json') == c.text('through-the-relay.json') == '{"n":1}', 20)
    eventually(lambda: '──relay' in b.run('topology').stdout, 10)
    # Without a relay nobody is cut off.
    b.run('relay', 'remove', relay.shown, b.database)
    eventually(lambda: connected(b) == {'device-a', 'device-c'} and 'device-b' in connected(c), 20)
    assert 'no relay is known here' in b.run('topology').stdout
    b.run('relay', 'add', relay.address, b.database)
    eventually(lambda: not connected(b) and not connected(c), 20)
    a.run('topology', 'set', 'mesh')
    eventually(lambda: connected(b) == {'device-a', 'device-c'}, 20)
    synced(a, b, c)


BAD = {
    'ring': (['ring'], 2, 'set what?'),
    'nothing': ([], 2, 'set what?'),
    'star of nobody': (['star', 'nobody'], 1, 'no device nobody'),
    'star of nothing': (['star'], 2, 'set what?'),
    'hub without a relay': (['hub'], 1, 'hub needs a relay'),
    'default for all': (['default'], 2, 'set what?'),
}


@pytest.mark.parametrize('what', BAD)
def test_what_cannot_be_set(node, what):
    operands, code, said = BAD[what]
    done = node.run('topology', 'set', *operands, code=code)
    assert said in done.stderr and done.stderr.count('\n') == 1
    assert node.json('topology')['pattern'] == 'mesh'


def test_alone(node):
    assert 'device-a alone' in node.run('topology').stdout
    assert node.json('topology')['links'] == []


@pytest.fixture
def ends(directory, request):
    """Ends nodes that a test makes itself."""
    nodes = []
    try:
        yield nodes
        if not getattr(request.node, 'blaze_failed', False):
            for node in nodes:
                node.close()
    finally:
        for node in nodes:
            node.discard()


@pytest.mark.root
@pytest.mark.timeout(180)
def test_three_in_a_line_pass_on_what_the_ends_cannot_say(directory, ends):
    """The ends can reach the middle only. Partitions heal, also while the middle changes sides."""
    with Cables(3, [(0, 1), (2, 1)]) as net:
        ends += [Node(directory, name, netns=pid) for name, pid in zip('abc', net.pids)]
        a, b, c = ends
        b.init().mount(listen='0.0.0.0:0')
        join(b, a)
        join(b, c)
        a.write('from-a.json', '{"n":1}')
        c.write('from-c.json', '{"n":2}')
        synced(a, b, c)
        assert connected(a) == {'device-b'} == connected(c)
        net.cable(1, up=False)
        for i in range(20):
            a.write(f'a{i}.json', '{"n":%d}' % i)
            c.write(f'c{i}.json', '{"n":%d}' % i)
        eventually(lambda: b.text('c19.json') == '{"n":19}', 20)
        net.cable(2, up=False)
        net.cable(1, up=True)
        eventually(lambda: a.text('c19.json') == '{"n":19}' and b.text('a19.json') == '{"n":19}', 40,
                   'the first end and the middle agree')
        net.cable(2, up=True)
        synced(a, b, c)


@pytest.mark.root
@pytest.mark.timeout(180)
def test_second_cable_is_used_when_the_first_is_pulled(directory, ends, record_property):
    """No end of a connection is seen when a cable is pulled: changes that wait find the other way."""
    with Cables(2, [(0, 1), (0, 1)]) as net:
        ends += [Node(directory, name, netns=pid) for name, pid in zip('ab', net.pids)]
        a, b = ends
        b.init().mount(listen='0.0.0.0:0')
        join(b, a)
        a.write('before.json', '{"n":0}')
        synced(a, b)
        for n in range(1, 5):
            used = int(a.status()['peers'][0]['endpoint'].split('.')[2])
            net.cable(used, up=False)
            start = now()
            a.write(f'{n}.json', '{"n":%d}' % n)
            eventually(lambda: b.text(f'{n}.json') == '{"n":%d}' % n, 20)
            record_property(f'failover_{n}_s', f'{now() - start:.2f}')
            print(f'failover {n}: {now() - start:.2f} s')
            assert connected(a) == {'device-b'}
            net.cable(used, up=True)
        synced(a, b)
