"""The real input: Debian's iso-codes, one record an entry, edited with real tools on two devices."""
import json
import subprocess
from pathlib import Path

import pytest

from blazetest import Node
from blazetest.cluster import Invitation, is_connected
from blazetest.namespace import Namespaces
from blazetest.wait import eventually

SOURCE = Path('/usr/share/iso-codes/json')
COLLECTIONS = {  # folder: (file, list, key of the record's name)
    'countries': ('iso_3166-1.json', '3166-1', 'alpha_2'),
    'languages': ('iso_639-3.json', '639-3', 'alpha_3'),
    'currencies': ('iso_4217.json', '4217', 'alpha_3'),
    'scripts': ('iso_15924.json', '15924', 'alpha_4'),
}
VIM = 'vim -es -u NONE -i NONE -c "%s/Italy/Italia/" -c wq countries/IT.json </dev/null'
PYTHON = '''/usr/bin/python3 -c "
import json; r = json.load(open('countries/ES.json')); r['note'] = 'visited'
json.dump(r, open('countries/ES.json', 'w'), ensure_ascii=False, indent=2)"'''
EDITS = ['sed -i s/Germany/Deutschland/ countries/DE.json',
         'jq \'.note="neutral"\' countries/CH.json | sponge countries/CH.json', VIM, PYTHON]


def split(node, collections=COLLECTIONS, limit=10**6):
    """One file an entry, as jq prints it, written by a shell through the mount."""
    count = 0
    for folder, (file, name, key) in collections.items():
        entries = f'"@" + .{key}, .'
        node.sh(f'''mkdir {folder}; cd {folder}
jq -r '."{name}"[:{limit}][] | {entries}' {SOURCE}/{file} |
awk '/^@/ {{ close(f); f = substr($0, 2) ".json"; next }} {{ print > f }}' ''')
        count += len(node.names(folder))
    return count


def edit_and_compare(a, b, synced):
    for edit in EDITS:
        a.sh(edit)
    git = 'git -c user.name=t -c user.email=t@example.org'
    a.sh(f'mkdir journal; cd journal; {git} init -q; echo start > day.txt; git add .; {git} commit -qm day')
    synced()
    assert json.loads(b.text('countries/DE.json'))['name'] == 'Deutschland'
    assert json.loads(b.text('countries/CH.json'))['note'] == 'neutral'
    assert 'Italia' in b.text('countries/IT.json') and 'visited' in b.text('countries/ES.json')
    assert b.names('journal') == ['day.txt']
    for folder in ('countries', 'currencies', 'scripts'):
        subprocess.run(['diff', '-r', a.path(folder), b.path(folder)], check=True)


def test_countries_on_two_devices(pair):
    a, b = pair.nodes
    small = {k: v for k, v in COLLECTIONS.items() if k != 'languages'}
    assert split(a, small) > 500
    edit_and_compare(a, b, lambda: trees_equal(a, b))


def test_one_field_on_each_side_while_disconnected(pair):
    a, b = pair.nodes
    split(a, {'countries': COLLECTIONS['countries']}, limit=60)
    pair.synced()
    pair.cut()
    a.sh('sed -i s/Germany/Deutschland/ countries/DE.json')
    b.sh('jq \'.alpha_3="GER"\' countries/DE.json | sponge countries/DE.json')
    pair.restore()
    pair.synced()
    record = json.loads(a.text('countries/DE.json'))
    assert (record['name'], record['alpha_3']) == ('Deutschland', 'GER')
    assert a.read('countries/DE.json') == b.read('countries/DE.json')


def trees_equal(a, b, deadline=60):
    for node in (a, b):
        node.wait(f'{deadline}s')
    mine = {p: k for p, k in a.tree().items() if '.git' not in p}
    eventually(lambda: b.tree() == mine, deadline, 'both devices show the same tree')


@pytest.mark.root
@pytest.mark.timeout(300)
def test_all_entries_in_two_network_namespaces(directory, request):
    with Namespaces() as net:
        a, b = (Node(directory, name, netns=pid) for name, pid in zip('ab', net.pids))
        request.addfinalizer(a.discard)
        request.addfinalizer(b.discard)
        a.init().mount(listen=f'{net.ADDRESSES[0]}:0')
        assert split(a) > 8000
        with Invitation(a) as invitation:
            b.run('pair', invitation.link)
            invitation.accepted()
        b.mount()
        edit_and_compare(a, b, lambda: trees_equal(a, b, 120))
        cut_the_cable(net, a, b)
        a.close()
        b.close()


def cut_the_cable(net, a, b):
    """A pulled cable says nothing to either side; both edit, and find each other again."""
    net.cable(up=False)
    a.sh('sed -i s/France/Frankreich/ countries/FR.json')
    b.sh('sed -i s/FRA/FRX/ countries/FR.json')
    net.cable(up=True)
    eventually(lambda: is_connected(b), 60)
    trees_equal(a, b)
    record = json.loads(a.text('countries/FR.json'))
    assert (record['name'], record['alpha_3']) == ('Frankreich', 'FRX')
