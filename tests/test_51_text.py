"""Text that several people edit while they cannot see each other: everybody's edits are in the file."""
import json
import random

import pytest

from blazetest.terminal import Terminal
from blazetest.wait import eventually

LOST = '.blaze/conflicts'
NOTES = ''.join(f'line {i} of the notes\n' for i in range(20))
VIM = ['vim', '-N', '-u', 'NONE', '-i', 'NONE', '-c', 'set backupskip= shortmess=']


def edit_apart(pair, path, base, *edits):
    """Both save an edit of the same text while they are cut off; then what both show."""
    a, b = pair.edit_apart(path, base, *edits)
    assert a.read(path) == b.read(path)
    return a.read(path)


def merged(pair, path, base, *edits):
    shown = edit_apart(pair, path, base, *edits)
    assert all(node.names(LOST) == [] for node in pair.nodes)
    return shown if isinstance(base, bytes) else shown.decode()


@pytest.mark.parametrize('path', ['notes.md', 'src/main.c', 'conf.yaml', 'broken.json'])
def test_edits_of_different_lines_are_both_there(pair, path):
    a, b = NOTES.replace('line 3 of', 'line THREE of'), NOTES.replace('line 17 of', 'line SEVENTEEN of')
    assert merged(pair, path, NOTES, a, b) == a.replace('line 17 of', 'line SEVENTEEN of')


def test_edits_of_one_line_are_both_there(pair):
    base = 'The quick fox jumps over the dog.\n'
    a, b = base.replace('quick', 'very quick'), base.replace('the dog', 'the lazy dog')
    assert edit_apart(pair, 't.txt', base, a, b) == b'The very quick fox jumps over the lazy dog.\n'
    assert all(node.names(LOST) == ['t.txt@lines'] for node in pair.nodes)


def clashes(node):
    return [json.loads(line) for line in node.run('conflicts', '--json', cwd=node.mnt).stdout.splitlines()]


def edit_line_apart(pair, line='line 3 of the notes\n'):
    edits = [NOTES.replace(line, line.replace('the', word)) for word in ('anna\'s', 'bert\'s')]
    edit_apart(pair, 't.txt', NOTES, *(e.replace('line 18', f'line {i}') if i else e for i, e in enumerate(edits)))
    return edits


def test_a_line_that_both_changed_is_listed_with_both_versions(pair):
    edits = edit_line_apart(pair)
    a, b = pair.nodes
    assert clashes(a) == clashes(b)
    for node in (a, b):
        found = {f['author']: f for f in clashes(node)}
        assert {f['line'] for f in found.values()} == {4} and {f['lines'] for f in found.values()} == {1}
        assert found['device-a']['value'] in edits[0] and found['device-b']['value'] in edits[1]
        assert found['device-a']['in_use'] == node.text('t.txt').splitlines(True)[3]
        shown = node.text(f'{LOST}/t.txt@lines')
        assert "\n    line 3 of anna's notes\n" in shown and "\n    line 3 of bert's notes\n" in shown
        assert node.status()['conflicts'] == 1


@pytest.mark.parametrize('edit', [lambda n: n.sh('sed -i 4s/.*/settled/ t.txt'), lambda n: n.sh('sed -i 4d t.txt'),
                                  lambda n: n.run('conflicts', 'keep', n.path('t.txt')),
                                  lambda n: n.run('conflicts', 'use', 'device-a', n.path('t.txt')),
                                  lambda n: n.sh(f'rm {LOST}/t.txt@lines')])
def test_lines_that_both_changed_are_settled(pair, edit):
    edit_line_apart(pair)
    a, b = pair.nodes
    a.sh('sed -i 1s/line/LINE/ t.txt; echo more >> t.txt')
    pair.synced()
    assert len(clashes(b)) == 2
    edit(b)
    pair.synced()
    for node in (a, b):
        eventually(lambda n=node: clashes(n) == [])
        assert node.names(LOST) == [] and node.status()['conflicts'] == 0


def test_using_the_other_version_of_a_line(pair):
    edits = edit_line_apart(pair)
    a, b = pair.nodes
    assert '→' in a.run('conflicts', 'use', 'device-a', a.path('t.txt')).stdout
    pair.synced()
    assert b.text('t.txt').splitlines()[3] == edits[0].splitlines()[3]


@pytest.mark.parametrize('first, second', [
    ('sed -i 4d t.txt', 'sed -i 5s/the/our/ t.txt'), ('sed -i 4d t.txt', 'sed -i 3s/the/our/ t.txt'),
    ('sed -i 4i\\\\new t.txt', 'sed -i 4s/the/our/ t.txt'), ('sed -i 4a\\\\new t.txt', 'sed -i 4s/the/our/ t.txt'),
    ('sed -i s/$/\\\\r/ t.txt', 'sed -i 4s/the/our/ t.txt'), ('echo a >> t.txt', 'echo b >> t.txt'),
    ('sed -i 4d t.txt', 'sed -i 4d t.txt'), ('printf "%s" x >> t.txt', 'sed -i 4s/the/our/ t.txt')])
def test_neighbours_do_not_clash(pair, first, second):
    merged(pair, 't.txt', NOTES, lambda n: n.sh(first), lambda n: n.sh(second))


@pytest.mark.parametrize('first, second', [
    ('sed -i 4d t.txt', 'sed -i 4s/the/our/ t.txt'), ('sed -i "4s/of the //" t.txt', 'sed -i 4s/notes/lines/ t.txt'),
    ('sed -i 4s/line/word/ t.txt', 'sed -i 4s/notes/lines/ t.txt')])
def test_edits_within_a_line_clash(pair, first, second):
    edit_apart(pair, 't.txt', NOTES, lambda n: n.sh(first), lambda n: n.sh(second))
    assert all(node.names(LOST) == ['t.txt@lines'] for node in pair.nodes)


def test_appended_lines_stay_together(pair):
    a, b = ([f'{name} {i}\n' for i in range(5)] for name in ('anna', 'bert'))
    shown = merged(pair, 'log', 'begin\n',
                   *(lambda n, lines=lines: [n.sh(f'printf "%s" "{line}" >> log') for line in lines] for lines in (a, b)))
    assert shown in ('begin\n' + ''.join(a + b), 'begin\n' + ''.join(b + a))


def test_paragraphs_inserted_at_one_place_do_not_mix(pair):
    base, a, b = 'top\n\nbottom\n', 'one\ntwo\nthree\n', 'eins\nzwei\ndrei\n'
    shown = merged(pair, 't.txt', base, f'top\n{a}\nbottom\n', f'top\n{b}\nbottom\n')
    assert shown in (f'top\n{a}{b}\nbottom\n', f'top\n{b}{a}\nbottom\n')


def test_first_lines_of_a_touched_log_are_both_there(pair):
    shown = merged(pair, 'log', '', *(lambda n, w=w: n.sh(f'echo {w} >> log') for w in ('anna', 'bert')))
    assert sorted(shown.splitlines()) == ['anna', 'bert']


def test_line_ends_and_a_line(pair):
    shown = merged(pair, 't.txt', NOTES, lambda n: n.sh('sed -i s/$/\\\\r/ t.txt'), NOTES + 'and one\n')
    assert shown == NOTES.replace('\n', '\r\n') + 'and one\n'


def test_broken_utf8_is_edited_by_lines(pair):
    base = b'caf\xe9 one\nplain\ncaf\xe9 two\n'
    shown = merged(pair, 'latin1.txt', base, base.replace(b'one', b'1'), base.replace(b'plain', b'very plain'))
    assert shown == b'caf\xe9 1\nvery plain\ncaf\xe9 two\n'


def test_no_letter_is_torn_apart(pair):
    base = 'äöü ÄÖÜ €\n' * 3
    shown = edit_apart(pair, 't.txt', base, base.replace('ö', 'ô', 1), base.replace('€', '₿', 2)).decode()
    assert shown == base.replace('ö', 'ô', 1).replace('€', '₿', 2)


def test_edit_of_a_deleted_paragraph_stays(pair):
    base = 'first\n\nsecond paragraph\nof two lines\n\nthird\n'
    shown = edit_apart(pair, 't.txt', base, base.replace('second paragraph\nof two lines\n\n', ''),
                       base.replace('two lines', 'two long lines')).decode()
    assert 'long' in shown and shown.startswith('first\n') and shown.endswith('third\n') and 'paragraph' not in shown


def test_edit_beats_a_deletion_of_the_file(pair):
    assert merged(pair, 't.txt', NOTES, lambda n: n.path('t.txt').unlink(), NOTES + 'more\n') == NOTES + 'more\n'


def test_file_created_alike_on_both_is_one_and_merges(pair):
    a, b = pair.nodes
    pair.cut()
    for node in (a, b):
        node.write('same.txt', NOTES)
    a.write('same.txt', 'title\n' + NOTES)
    b.write('same.txt', NOTES + 'end\n')
    pair.restore()
    pair.synced()
    assert a.text('same.txt') == 'title\n' + NOTES + 'end\n' and a.names(LOST) == b.names(LOST) == []


def test_touched_then_written_alike_is_there_once(pair):
    pair.cut()
    for node in pair.nodes:
        node.sh(f"touch same.txt; printf '%s' '{NOTES}' > same.txt")
    pair.restore()
    pair.synced()
    assert pair.nodes[0].text('same.txt') == NOTES and pair.nodes[0].names(LOST) == []


def test_text_replaced_by_another_is_a_conflict(pair):
    a, b = 'nothing of that any more, but this\n', NOTES + 'more\n'
    shown = edit_apart(pair, 't.txt', NOTES, a, b).decode()
    (lost,) = pair.nodes[0].names(LOST)
    assert {shown, pair.nodes[0].text(f'{LOST}/{lost}')} == {a, b}


@pytest.mark.parametrize('kinds', [(b'\0\1\2binary', b'text again\n'), (b'{"a": 1}\n', b'{broken\n'),
                                   (b'', b'from nothing\n')])
def test_flip_of_kind_keeps_the_other_edit(pair, kinds):
    """One turns the file into something else and back; the other edits the text meanwhile."""
    def flip(node):
        for content in kinds:
            node.write('r.json', content)
            assert node.read('r.json') == content
    shown = edit_apart(pair, 'r.json', NOTES, flip, NOTES + 'meanwhile\n')
    a, _ = pair.nodes
    everything = shown + b''.join(a.read(f'{LOST}/{name}') for name in a.names(LOST))
    assert b'meanwhile\n' in everything and kinds[1] in everything


def test_save_of_what_was_read_before_keeps_what_came_in(pair):
    a, b = pair.nodes
    a.write('t.txt', NOTES)
    pair.synced()
    with open(a.path('t.txt'), 'r+', encoding='utf-8') as f:
        mine = f.read().replace('line 2 of', 'my line 2 of')
        b.write('t.txt', NOTES.replace('line 19 of', 'your line 19 of'))
        pair.synced()
        f.seek(0)
        f.truncate()
        f.write(mine)
    pair.synced()
    assert b.text('t.txt') == mine.replace('line 19 of', 'your line 19 of')


def test_vim_on_both_sides(pair):
    def vim(node, command):
        with Terminal([*VIM, 'notes.md'], node.mnt, node.env) as editor:
            editor.expect('line 3').type(f':{command} | wq\r')
            assert editor.ended() == 0
    shown = merged(pair, 'notes.md', NOTES, lambda n: vim(n, '%s/line 4 of/line FOUR of/'),
                   lambda n: vim(n, '%s/line 9 of/line NINE of/'))
    assert shown == NOTES.replace('line 4 of', 'line FOUR of').replace('line 9 of', 'line NINE of')


def test_both_go_on_editing_what_was_merged(pair):
    a, b = pair.nodes
    text = merged(pair, 't.txt', NOTES, 'a0\n' + NOTES, NOTES + 'b0\n')
    for i in range(1, 4):
        pair.cut()
        a.write('t.txt', f'a{i}\n' + text)
        b.write('t.txt', text + f'b{i}\n')
        if i == 2:
            b.remount()
            pair.remount_hub()
        pair.restore()
        pair.synced()
        text = f'a{i}\n{text}b{i}\n'
        assert a.text('t.txt') == text and a.names(LOST) == []


def test_three_devices_and_two_partitions(clusters):
    cluster = clusters(3)
    a, b, c = cluster.nodes
    a.write('t.txt', NOTES)
    cluster.synced()
    cluster.cut(c)
    a.write('t.txt', NOTES.replace('line 1 of', 'line 1 (a) of'))
    eventually(lambda: '(a)' in b.text('t.txt'))
    b.write('t.txt', b.text('t.txt') + 'from b\n')
    c.write('t.txt', 'from c\n' + NOTES)
    c.write('t.txt', 'from c, again\n' + c.text('t.txt'))
    cluster.cut(b)
    a.write('t.txt', a.text('t.txt').replace('line 12 of', 'line 12 (a) of'))
    cluster.restore(c)
    eventually(lambda: 'from c, again' in a.text('t.txt'))
    cluster.restore(b)
    cluster.synced()
    want = NOTES.replace('line 1 of', 'line 1 (a) of').replace('line 12 of', 'line 12 (a) of')
    assert b.text('t.txt') == 'from c, again\nfrom c\n' + want + 'from b\n' and b.names(LOST) == []


def test_random_edits_lose_no_line(pair):
    a, b = pair.nodes
    rnd, kept, n = random.Random(5), set(), 0
    a.write('t.txt', NOTES)
    pair.synced()
    for _ in range(4):
        pair.cut()
        for node in (a, b):
            for _ in range(rnd.randrange(1, 6)):
                lines, n = node.text('t.txt').splitlines(True), n + 1
                lines.insert(rnd.randrange(len(lines) + 1), f'<{n}>{"x" * rnd.randrange(40)}</{n}>\n')
                kept.add(f'<{n}>')
                node.write('t.txt', ''.join(lines))
        pair.restore()
        pair.synced()
        shown = a.text('t.txt')
        assert all(shown.count(mark) == 1 for mark in kept) and len(shown.splitlines()) == 20 + n


def test_one_line_of_a_long_text_costs_little(pair):
    a, b = pair.nodes
    rnd = random.Random(3)
    lines = [''.join(rnd.choices('abcdefghij klmnop', k=60)) + '\n' for _ in range(16000)]
    a.write('long.txt', ''.join(lines))
    pair.synced()
    pair.proxy().record()
    lines[8000] = 'this one was edited\n'
    a.write('long.txt', ''.join(lines))
    pair.synced()
    assert b.text('long.txt') == ''.join(lines)
    assert len(pair.proxy().up) + len(pair.proxy().down) < 4000


def test_all_line_ends_of_a_long_text_cost_little(pair):
    a, b = pair.nodes
    rnd = random.Random(4)
    text = ''.join(''.join(rnd.choices('abcdefghij klmnop', k=60)) + '\n' for _ in range(4000))
    a.write('dos.txt', text)
    pair.synced()
    pair.proxy().record()
    a.write('dos.txt', text.replace('\n', '\r\n'))
    pair.synced()
    assert b.read('dos.txt') == text.replace('\n', '\r\n').encode()
    assert len(pair.proxy().up) + len(pair.proxy().down) < 16000


def test_symbolic_links_do_not_merge(pair):
    a, b = pair.nodes
    a.sh('ln -s targets/one link')
    pair.synced()
    pair.cut()
    a.sh('ln -sfn targets/two link')
    b.sh('ln -sfn targets/three link')
    pair.restore()
    pair.synced()
    assert a.path('link').readlink() == b.path('link').readlink()
    assert str(a.path('link').readlink()) in ('targets/two', 'targets/three')
