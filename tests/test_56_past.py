"""The past as files: .blaze/at/, .blaze/history/ and .blaze/deleted/."""
import os
import subprocess
import time

import pytest

from blazetest.wait import eventually


def instant():
    """A time between what was before and what comes after."""
    now = time.time()
    while time.time() < now + 0.005:
        pass
    return time.strftime('%Y-%m-%dT%H-%M-%S', time.gmtime(now + 0.002)) + f'.{int((now + 0.002) * 1000) % 1000:03d}Z'


def past(node, then, path=''):
    return node.tree(f'.blaze/at/{then}/{path}')


def removed(node, *paths):
    """Removes, and waits until that is a change."""
    node.sh('rm -r ' + ' '.join(paths))
    for path in paths:
        eventually(lambda p=path: os.path.lexists(node.path(f'.blaze/deleted/{p}')))


def test_at_is_the_whole_tree_of_then(pair):
    a, b = pair.nodes
    a.write('d/r.json', '{"a":1}')
    a.write('d/sub/t.txt', 'text')
    a.write('d/sub/blob', bytes(range(256)) * 1200)
    a.sh('ln -s sub/t.txt d/l && chmod +x d/sub/t.txt && mkdir d/empty')
    pair.synced()
    before, then = a.tree(), instant()
    b.write('d/r.json', '{"a":2}')
    b.write('d/sub/blob', b'short')
    b.write('d/new.txt', 'x')
    b.sh('mv d/sub d/moved && rmdir d/empty && chmod -x d/moved/t.txt')
    pair.synced()
    b.sh('rm -r d/l d/moved/t.txt')
    pair.synced()
    eventually(lambda: not a.exists('d/l'))
    assert past(a, then) == past(b, then) == before
    assert past(a, 'now') == a.tree()
    assert past(a, then.replace('-', ':').replace(':', '-', 2)) == before


def test_any_tool_reads_it(node):
    for n in range(20):
        node.write(f'd/f{n}.txt', f'word {n}\n')
    then = instant()
    node.sh('cp -a d ../saved && sed -i s/word/other/ d/*.txt && rm d/f3.txt')
    node.sh(f'diff -r .blaze/at/{then}/d ../saved')
    node.sh(f'cp -a .blaze/at/{then}/d ../copied && diff -r ../saved ../copied')
    assert len(node.sh(f'grep -r word .blaze/at/{then}/d').splitlines()) == 20
    node.sh(f'tar -C .blaze/at/{then} -cf ../d.tar d && mkdir ../un && tar -C ../un -xf ../d.tar && diff -r ../un/d ../saved')
    stat = os.stat(node.path(f'.blaze/at/{then}/d/f3.txt'))
    assert stat.st_size == 7 and abs(stat.st_mtime - time.time()) < 120 and stat.st_mode & 0o777 == 0o400


def test_at_cannot_be_written(node):
    node.write('t.txt', 'x')
    for command in ('echo y > .blaze/at/now/t.txt', 'rm .blaze/at/now/t.txt', 'mkdir .blaze/at/now/d',
                    'mv .blaze/at/now/t.txt u.txt', 'touch .blaze/at/now/u', 'rm .blaze/history/t.txt/*'):
        assert subprocess.run(['sh', '-c', command], cwd=node.mnt, capture_output=True).returncode != 0, command
    assert node.names() == ['t.txt'] and node.text('t.txt') == 'x'


@pytest.mark.parametrize('name', ['now', '1min-ago', '5 minutes ago', '2h-ago', 'yesterday', 'today', '2026-01-01',
                                  '2026-01-01T12:00', '2026-01-01T12-00-00Z', '2026-01-01T12:00:00.5+01:00', '00:00'])
def test_names_that_are_times(node, name):
    assert node.path(f'.blaze/at/{name}').is_dir()


@pytest.mark.parametrize('name', ['', 'noon', '24:00', '2026-02-30', '5-ago', '-5min-ago', '2026-01-01T', 'x' * 255,
                                  '2026-01-01T12:00+1', '99999999999999min-ago', '2026-01-01 12:00 Z'])
def test_names_that_are_none(node, name):
    assert not name or not os.path.lexists(node.path(f'.blaze/at/{name}'))


def test_listings_do_not_show_it_and_are_short(node):
    node.write('t.txt', 'x')
    assert node.names() == ['t.txt'] and len(node.names('.blaze/at')) < 8
    assert {'at', 'deleted', 'history', 'conflicts'} <= set(node.names('.blaze'))


def test_history_has_every_version(pair):
    a, b = pair.nodes
    a.write('d/r.json', '{"n":1}')
    pair.synced()
    b.write('d/r.json', '{"n":2}')
    pair.synced()
    a.write('d/r.json', '{"n":3}')
    pair.synced()
    for node in (a, b):
        names = node.names('.blaze/history/d/r.json')
        assert [n[:5] for n in names] == ['0001-', '0002-', '0003-']
        assert [n.split('Z-')[1] for n in names] == ['device-a.json', 'device-b.json', 'device-a.json']
        assert [node.text(f'.blaze/history/d/r.json/{n}') for n in names] == ['{"n":1}', '{"n":2}', '{"n":3}']
        assert node.path(f'.blaze/history/d/r.json/{names[0]}').stat().st_size == 7
    assert a.names('.blaze/history/d/r.json') == b.names('.blaze/history/d/r.json')


def test_history_follows_names_and_outlives_deletion(node):
    node.write('d/a.txt', 'one')
    node.sh('mv d/a.txt d/b.txt')
    node.write('d/b.txt', 'two')
    removed(node, 'd/b.txt')
    names = node.names('.blaze/history/d/b.txt')
    assert [node.text(f'.blaze/history/d/b.txt/{n}') for n in names][:3] == ['one', 'one', 'two']


def test_deleted_brings_files_back(pair):
    a, b = pair.nodes
    a.write('d/a.txt', 'one')
    a.write('d/sub/b.txt', 'two')
    pair.synced()
    removed(b, 'd')
    pair.synced()
    eventually(lambda: a.exists('.blaze/deleted/d/a.txt'))
    assert a.tree('.blaze/deleted') == b.tree('.blaze/deleted') and len(a.tree('.blaze/deleted')) == 4
    a.sh('mv .blaze/deleted/d d')
    pair.synced()
    assert b.text('d/a.txt') == 'one' and b.text('d/sub/b.txt') == 'two' and b.names('.blaze/deleted') == []
    assert len(b.log('d/a.txt')) == 3, 'it is the same record'
    removed(b, 'd/a.txt')
    b.sh('cp .blaze/deleted/d/a.txt d/other.txt && mv .blaze/deleted/d/a.txt d/renamed.txt')
    pair.synced()
    assert a.text('d/other.txt') == a.text('d/renamed.txt') == 'one' and a.names('.blaze/deleted') == []


def test_deleted_can_be_copied_back_as_a_tree(node):
    node.write('d/a.txt', 'one')
    node.write('d/sub/b.txt', 'two')
    removed(node, 'd')
    node.sh('cp -r .blaze/deleted/d . && chmod -R u+w d')
    assert node.text('d/a.txt') == 'one' and node.text('d/sub/b.txt') == 'two'


def test_what_was_never_deleted_is_not_in_deleted(node):
    node.write('d/a.txt', 'one')
    node.write('e/b.txt', 'two')
    removed(node, 'e/b.txt')
    assert node.names('.blaze/deleted') == ['e'] and node.names('.blaze/deleted/e') == ['b.txt']
    node.write('e/b.txt', 'again')
    assert node.names('.blaze/deleted') == []


def test_a_tree_of_ten_thousand_files(node):
    node.path('d').mkdir()
    for n in range(100):
        node.path(f'd/{n}').mkdir()
        for k in range(100):
            node.path(f'd/{n}/{k}.txt').write_text(f'{n} {k}\n')
    then = instant()
    for n in range(100):
        node.write(f'd/{n}/0.txt', 'changed\n')
    start = time.monotonic()
    found = node.sh(f'find .blaze/at/{then} -type f -size -10c | wc -l').strip()
    walked = time.monotonic() - start
    assert found == '10000' and node.sh(f'cat .blaze/at/{then}/d/*/0.txt | grep -c changed || true').strip() == '0'
    print(f'find in a tree of 10,000 files: {walked:.2f} s')
