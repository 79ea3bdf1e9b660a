"""What passes between two devices: no name, no field, no value; and not much of it."""
import json
import random

import pytest

from blazetest import eventually
from blazetest.proxy import Proxy
from blazetest.wait import pause

CANARIES = ['kestrelname', 'ptarmiganfield', 'merganservalue', 'dotterelfolder', 'whimbreltext',
            'avocetlink', 'sanderlingrename', 'device-a', 'device-b', 'work']


def canary_edits(a, b):
    a.write('dotterelfolder/kestrelname.json', json.dumps({'ptarmiganfield': 'merganservalue'}))
    a.write('dotterelfolder/plain.txt', 'whimbreltext ' * 100)
    a.sh('ln -s avocetlink dotterelfolder/link')
    a.wait()
    b.sh('cd dotterelfolder; mv kestrelname.json sanderlingrename.json; sed -i s/whim/brim/ plain.txt')
    b.wait()


def assert_sealed(captured):
    assert len(captured) > 1000, 'nothing was captured'
    for canary in CANARIES:
        for form in (canary.encode(), canary.encode('utf-16-le'), canary.encode()[:6]):
            assert len(form) < 5 or form not in captured, canary


def test_live_traffic_holds_no_name_field_or_value(pair):
    pair.proxy().record()
    canary_edits(*pair.nodes)
    assert_sealed(bytes(pair.proxy().up + pair.proxy().down))


def test_catching_up_and_greeting_hold_none_either(pair):
    a, b = pair.nodes
    pair.cut()
    a.write('dotterelfolder/kestrelname.json', '{"ptarmiganfield":"merganservalue"}')
    a.write('whimbreltext.txt', 'whimbreltext' * 50)
    pair.proxy().record()
    pair.restore()
    pair.synced()
    assert_sealed(bytes(pair.proxy().up + pair.proxy().down))


def test_pairing_and_first_transfer_hold_none_either(clusters, monkeypatch):
    monkeypatch.setattr(Proxy, 'RECORD_FROM_START', True)
    cluster = clusters(2)
    canary_edits(*cluster.nodes)
    assert_sealed(bytes(cluster.proxy().up + cluster.proxy().down))


def test_same_edit_never_looks_the_same_twice(pair):
    a, _ = pair.nodes
    seen = []
    for _ in range(2):
        pair.proxy().record()
        a.write('same.json', '{"n":"same value"}')
        a.wait()
        a.path('same.json').unlink()
        a.wait()
        seen.append(bytes(pair.proxy().down))
    blocks = [{s[i:i + 16] for i in range(len(s) - 16)} for s in seen]
    assert len(blocks[0] & blocks[1]) == 0


def big_record():
    rnd = random.Random(7)
    fields = {f'field{i:04}': ''.join(rnd.choices('abcdefghij klmnop', k=80)) for i in range(1100)}
    return json.dumps(fields, indent=1)


EDITS = {
    'sed': 'sed -i s/MARK/DONE/ big.json',
    'python': """/usr/bin/python3 -c "
t = open('big.json').read(); open('big.json', 'w').write(t.replace('MARK', 'DONE'))" """,
}


@pytest.mark.parametrize('how', EDITS)
def test_one_field_of_a_large_record_costs_600_bytes(pair, how):
    a, b = pair.nodes
    a.write('big.json', big_record().replace('"field0500": "', '"field0500": "MARK'))
    assert a.path('big.json').stat().st_size > 100_000
    pair.synced()
    eventually(lambda: quiet(pair), 20, 'the link is quiet')
    pair.proxy().record()
    a.sh(EDITS[how])
    eventually(lambda: 'DONE' in b.text('big.json'))
    a.wait()
    down, up = len(pair.proxy().down), len(pair.proxy().up)
    assert down <= 600, f'{down} bytes to the other device ({up} back)'


def quiet(pair):
    """Nothing passed for a while."""
    pair.proxy().record()
    pause(0.3)
    return not pair.proxy().down and not pair.proxy().up


def test_devices_in_sync_are_nearly_silent(pair):
    pair.synced()
    eventually(lambda: quiet(pair), 20)
    pair.proxy().record()
    pause(2)
    assert len(pair.proxy().up) + len(pair.proxy().down) < 500


def test_reconnecting_in_sync_costs_little(pair):
    a, b = pair.nodes
    for i in range(200):
        a.write(f'{i}.json', json.dumps({'n': i}))
    pair.synced()
    pair.cut()
    pair.proxy().record()
    pair.restore()
    pair.synced()
    total = len(pair.proxy().up) + len(pair.proxy().down)
    assert total < 4000, f'{total} bytes to find that nothing is missing'


def test_an_edit_of_one_field_is_small(pair):
    """Both ways, acknowledged, with all framing; also in a large record."""
    a, b = pair.nodes
    small = {'field': 0, 'text': 'x' * 250}
    large = {'field': 0, 'rows': [{'id': n, 'text': 'x' * 60} for n in range(1000)]}
    for name, record in (('small.json', small), ('large.json', large)):
        a.write(name, json.dumps(record))
        pair.synced()
        eventually(lambda: a.status()['state'] == b.status()['state'] == 'synced')
        before, edits = pair.proxy().passed, 10
        for k in range(edits):
            a.write(name, json.dumps(record | {'field': 1000 + k}))
            a.wait()
        assert pair.proxy().passed - before <= edits * 280
