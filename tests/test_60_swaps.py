"""A directory that takes another one's place (`mv x x.old; mv x.new x`): each file goes on as the record it replaces."""
import pytest

from blazetest.wait import eventually

RECORD = '{\n  "a": 1,\n  "b": 2\n}\n'
LINES = ''.join(f'line {n}\n' for n in range(20))
COPY = 'cp -a x x.new'
EDIT = "sed -i 's/1/10/' x.new/r.json; sed -i 's/line 3$/three/' x.new/sub/t.txt"
SWAP = 'mv x x.old; mv x.new x'
FILES = ('', '/r.json', '/sub', '/sub/t.txt', '/same.txt')

both = pytest.mark.parametrize('top', [True, False], ids=['collection', 'directory'])
twice = pytest.mark.parametrize('published', [False, True], ids=['held', 'published'])


class Place:
    """Where x is: it is a collection, or a directory in one."""

    def __init__(self, node, top):
        self.node, self.base = node, '' if top else 'c/'
        self.text = lambda path: node.text(self.base + path)
        self.write = lambda path, data: node.write(self.base + path, data)
        self.sh = lambda script: node.sh(script, cwd=self.base)
        self.exists = lambda path: node.exists(self.base + path)

    def id(self, path):
        return self.node.xattr(self.base + path, 'blaze.id')

    def ids(self, directory='x', files=FILES):
        return [self.id(directory + name) for name in files]

    def settle(self):
        eventually(lambda: self.node.status()['held'] == 0)

    def said(self, path):
        return [e['summary'] for e in self.node.log(self.base + path)]

    def make(self):
        self.write('x/r.json', RECORD)
        self.write('x/sub/t.txt', LINES)
        self.write('x/same.txt', 'the same\n')
        self.sh('ln -s same.txt x/link')
        self.settle()
        return self.ids()


@both
@twice
def test_records_of_a_swapped_directory_go_on(node, top, published):
    at = Place(node, top)
    before = at.make()
    at.sh(f'{COPY}; {EDIT}; echo fresh > x.new/sub/fresh.txt; rm x.new/same.txt')
    if published:
        at.settle()
    fresh = at.id('x.new/sub/fresh.txt') if published else None
    at.sh(SWAP)
    at.settle()
    assert at.text('x/r.json') == RECORD.replace('1', '10') and at.text('x.old/r.json') == RECORD
    assert at.ids(files=FILES[:4]) == before[:4] and not set(at.ids('x.old', FILES[:4])) & set(before)
    assert at.text('x.old/same.txt') == 'the same\n' and not at.exists('x/same.txt')
    if not top:  # between collections records go on under another id
        assert at.id('x.old/same.txt') == before[4] and fresh in (None, at.id('x/sub/fresh.txt'))
    assert at.said('x/r.json') == ['created, 23 bytes', 'a 1 → 10']
    assert at.sh('readlink x/link x.old/link') == 'same.txt\nsame.txt\n' and not at.exists('x.new')


@both
@twice
def test_edits_of_another_device_meet_the_new_directory(pair, top, published):
    a, b = (Place(node, top) for node in pair.nodes)
    a.make()
    a.sh(COPY)
    if published:
        a.settle()
    pair.synced()
    pair.cut()
    a.sh(f'{EDIT}; {SWAP}')
    b.write('x/r.json', RECORD.replace('2', '20'))
    b.write('x/sub/t.txt', LINES.replace('line 15\n', 'fifteen\n'))
    b.sh('echo made meanwhile > x/theirs.txt; rm x/same.txt')
    a.sh('rm -r x.old')
    a.settle(), b.settle()
    pair.restore()
    pair.synced()
    for at in a, b:
        assert at.text('x/r.json') == RECORD.replace('1', '10').replace('2', '20')
        assert at.text('x/sub/t.txt') == LINES.replace('line 3\n', 'three\n').replace('line 15\n', 'fifteen\n')
        assert at.text('x/theirs.txt') == 'made meanwhile\n' and at.node.names(at.base) == ['x']
    assert a.node.tree_hash() == b.node.tree_hash()


@both
def test_directory_deleted_elsewhere_meanwhile_stays_with_what_was_put_in(pair, top):
    a, b = (Place(node, top) for node in pair.nodes)
    a.make()
    pair.synced()
    pair.cut()
    a.sh(f'{COPY}; {EDIT}; {SWAP}')
    b.sh('rm -r x')
    a.settle(), b.settle()
    pair.restore()
    pair.synced()
    for at in a, b:
        assert at.text('x/r.json') == RECORD.replace('1', '10') and at.text('x.old/r.json') == RECORD
    assert a.node.tree_hash() == b.node.tree_hash()


@both
def test_swapped_twice_and_back(node, top):
    at = Place(node, top)
    before = at.make()
    at.sh(f'{COPY}; {EDIT}; {SWAP}; rm -r x.old')
    at.sh(f"{COPY}; sed -i 's/2/22/' x.new/r.json; {SWAP}")
    at.settle()
    at.sh('mv x x.bad; mv x.old x; rm -r x.bad')
    at.settle()
    assert at.ids() == before and at.text('x/r.json') == RECORD.replace('1', '10')
    assert at.said('x/r.json') == ['created, 23 bytes', 'a 1 → 10', 'b 2 → 22', 'b 22 → 2']


@both
def test_swapped_directory_survives_kill_9(node, top):
    at = Place(node, top)
    before, large = at.make(), b'\0large' * 400000
    at.write('x/large.bin', large)
    at.settle()
    at.sh(f'{COPY}; {EDIT}; printf more >> x.new/large.bin; {SWAP}')
    node.kill9()
    node.remount()
    at.settle()
    assert at.text('x/r.json') == RECORD.replace('1', '10') and at.text('x.old/r.json') == RECORD
    assert node.read(at.base + 'x/large.bin') == large + b'more' and node.read(at.base + 'x.old/large.bin') == large
    assert at.ids() == before


def test_directory_named_otherwise_takes_its_records_along(node):
    at = Place(node, False)
    before = at.make()
    at.sh('cp -a x y; mv x final; mv y x')
    at.settle()
    assert at.ids('final') == before and not set(at.ids()) & set(before)


@both
def test_open_files_stay_in_the_directory_they_were_opened_in(node, top):
    at = Place(node, top)
    at.make()
    at.sh(COPY)
    at.settle()
    with open(node.path(at.base + 'x/r.json'), 'r+') as old, open(node.path(at.base + 'x.new/r.json'), 'r+') as new:
        at.sh(SWAP)
        old.write(RECORD.replace('1', '5'))
        new.write(RECORD.replace('1', '6'))
    at.settle()
    assert at.text('x.old/r.json') == RECORD.replace('1', '5') and at.text('x/r.json') == RECORD.replace('1', '6')


@both
def test_links_and_kinds_that_differ(pair, top):
    a, b = (Place(node, top) for node in pair.nodes)
    a.make()
    a.sh(f'ln x/r.json x/hard.json; {COPY}; rm x.new/link x.new/same.txt; mkdir x.new/link; echo in > x.new/link/in.txt;'
         f' ln -s r.json x.new/same.txt; {SWAP}')
    a.settle()
    pair.synced()
    for at in a, b:
        assert at.text('x/link/in.txt') == 'in\n' and at.sh('readlink x/same.txt x.old/link') == 'r.json\nsame.txt\n'
        assert at.text('x/hard.json') == at.text('x/r.json') == at.text('x.old/hard.json') == RECORD
    assert a.node.tree_hash() == b.node.tree_hash()
