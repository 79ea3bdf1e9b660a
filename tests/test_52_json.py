"""JSON records: arrays that merge, formatting that stays, limits that are named; with real tools, on two devices."""
import json
import shutil

import pytest

from blazetest.wait import eventually

LOST = '.blaze/conflicts'
JQ = '{\n  "tags": [\n    "a",\n    "b"\n  ],\n  "items": [\n    {\n      "id": 1,\n      "price": 5\n    },\n' \
     '    {\n      "id": 2,\n      "price": 6\n    }\n  ]\n}\n'


def apart(pair, base, edits, name='r.json'):
    """The record is shared; each device runs its edit while it cannot see the other. Returns what both show."""
    def call(edit):
        return (lambda node: node.sh(edit)) if isinstance(edit, str) and not edit.lstrip().startswith(('{', '[')) else edit
    a, b = pair.edit_apart(name, base, *map(call, edits))
    assert a.read(name) == b.read(name)
    return a.text(name)


def jq(program, name='r.json', options=''):
    return f"jq {options} '{program}' {name} | sponge {name}"


def python(statement, dump=''):
    return f'''/usr/bin/python3 -c "
import json; r = json.load(open('r.json')); {statement}
json.dump(r, open('r.json', 'w'){dump})"'''


def node_js(statement, indent=''):
    return f'''node -e "
const fs = require('fs'); const r = JSON.parse(fs.readFileSync('r.json')); {statement}
fs.writeFileSync('r.json', JSON.stringify(r{indent}))"'''


def rev_count(node, name='r.json'):
    return len(node.log(name))


# ---- arrays ----

@pytest.mark.parametrize('first, second, check', [
    ('.items[0].price = 7', '.items[1].price = 8', lambda r: [i['price'] for i in r['items']] == [7, 8]),
    ('.items[0].price = 7', '.items[0].note = "x"', lambda r: r['items'][0] == {'id': 1, 'price': 7, 'note': 'x'}),
    ('.items = [{"id": 0, "price": 0}] + .items', '.items[0].price = 7',
     lambda r: [(i['id'], i['price']) for i in r['items']] == [(0, 0), (1, 7), (2, 6)]),
    ('.items |= reverse', '.items[1].price = 8',
     lambda r: [(i['id'], i['price']) for i in r['items']] == [(2, 8), (1, 5)]),
    ('.items |= reverse', '.items |= reverse', lambda r: [i['id'] for i in r['items']] == [2, 1]),
    ('del(.items[0])', '.items[1].price = 8', lambda r: r['items'] == [{'id': 2, 'price': 8}]),
    ('del(.items[1])', '.items[1].price = 8', lambda r: r['items'][1]['price'] == 8),
    ('.items += [{"id": 3, "price": 1}]', '.items += [{"id": 4, "price": 2}]',
     lambda r: sorted(i['id'] for i in r['items']) == [1, 2, 3, 4]),
    ('.items += [{"id": 3, "price": 1}]', '.items += [{"id": 3, "note": 2}]',
     lambda r: r['items'][2] == {'id': 3, 'price': 1, 'note': 2}),
    ('.tags += ["x", "y"]', '.tags += ["p", "q"]',
     lambda r: r['tags'] in (['a', 'b', 'x', 'y', 'p', 'q'], ['a', 'b', 'p', 'q', 'x', 'y'])),
    ('.tags = ["n"] + .tags', '.tags += ["z"]', lambda r: r['tags'] == ['n', 'a', 'b', 'z']),
    ('.tags[0] = "A"', 'del(.tags[1])', lambda r: r['tags'] == ['A']),
    ('.tags |= reverse', '.tags += ["c"]', lambda r: sorted(r['tags']) == ['a', 'b', 'c']),
    ('.new = ["p", "q", "r"]', '.new = ["p", "q", "r"]', lambda r: r['new'] == ['p', 'q', 'r']),
    ('.new = [{"id": 1, "x": 1}]', '.new = [{"id": 1, "y": 2}]', lambda r: r['new'] == [{'id': 1, 'x': 1, 'y': 2}]),
    ('.grid = [[1, 2], [3, 4]]', '.tags += ["c"]', lambda r: r['grid'] == [[1, 2], [3, 4]] and 'c' in r['tags']),
])
def test_edits_of_an_array_on_two_devices(pair, first, second, check):
    shown = apart(pair, JQ, (jq(first), jq(second)))
    assert check(json.loads(shown)), shown
    # Made by jq, merged by us: as if jq had made it all.
    pair.nodes[0].sh('jq . r.json > expect.txt; cmp r.json expect.txt')


def test_nested_arrays_merge_inside(pair):
    base = '{"rows": [{"name": "a", "cells": [{"key": "x", "v": [1, 2, 3, 4, 5]}]}, {"name": "b", "cells": []}]}'
    shown = apart(pair, base, (python("r['rows'][0]['cells'][0]['v'].append(6)"),
                               python("r['rows'][0]['cells'][0]['v'].insert(0, 0); r['rows'][1]['name'] = 'c'")))
    assert json.loads(shown) == {'rows': [{'name': 'a', 'cells': [{'key': 'x', 'v': [0, 1, 2, 3, 4, 5, 6]}]},
                                          {'name': 'c', 'cells': []}]}


def test_renaming_an_element_is_an_edit_of_it(pair):
    base = '[{"name": "bob", "age": 4, "town": "Rome"}, {"name": "eve", "age": 5, "town": "Pisa"}]'
    shown = apart(pair, base, (python("r[0]['name'] = 'rob'"), python("r[0]['age'] = 44")))
    assert json.loads(shown)[0] == {'name': 'rob', 'age': 44, 'town': 'Rome'}


def test_array_replaced_by_something_else_is_kept(pair):
    shown = json.loads(apart(pair, JQ, (jq('.tags = "none"'), jq('.tags += ["c"]'))))
    lost = pair.nodes[0].text(f'{LOST}/r.json@fields')
    if shown['tags'] == 'none':
        assert 'tags[2]  "c"' in lost
    else:
        assert shown['tags'] == ['a', 'b', 'c'] and 'tags  "none"' in lost


@pytest.mark.parametrize('other', ['"none"', 'null', '{"first": "a"}'])
def test_array_of_elements_with_ids_and_a_value_in_its_place_are_both_kept(pair, other):
    shown = json.loads(apart(pair, JQ, (jq(f'.items = {other}'), jq('.items[1].price = 7'))))
    a, b = pair.nodes
    (found,) = [json.loads(line) for line in a.run('conflicts', '--json', cwd=a.mnt).stdout.splitlines()][:1]
    whole = [{'id': 1, 'price': 5}, {'id': 2, 'price': 7}]
    if shown['items'] == whole:
        assert found['field'] == 'items' and found['in_use'] == whole and found['value'] == json.loads(other)
        assert found['in_use_author'] == 'device-b' and not found['in_use_time'].startswith('1970')
    a.run('conflicts', 'use', '1', a.path('r.json'))
    pair.synced()
    assert json.loads(b.text('r.json'))['items'] == (json.loads(other) if shown['items'] == whole else whole)


def test_a_value_that_took_an_arrays_place_leaves_nothing_behind(node):
    node.write('r.json', JQ)
    for items in ('"none"', '7', '[{"id": 9}]', '{"x": 1}', '[]'):
        node.sh(jq(f'.items = {items}'))
        assert json.loads(node.text('r.json'))['items'] == json.loads(items)


def test_element_removed_here_and_edited_there_keeps_its_id(pair):
    shown = json.loads(apart(pair, JQ, (jq('del(.items[1])'), jq('.items[1].price = 7'))))
    assert shown['items'] == [{'id': 1, 'price': 5}, {'id': 2, 'price': 7}]
    a, b = pair.nodes
    a.sh(jq('.items[1].price = 8'))
    pair.synced()
    assert json.loads(b.text('r.json'))['items'][1] == {'id': 2, 'price': 8}
    b.sh(jq('del(.items[1].id)'))
    pair.synced()
    assert json.loads(a.text('r.json'))['items'][1] == {'price': 8}


def test_coordinates_are_one_value(pair):
    base = '{"at": [52.5, 13.4], "n": 1}\n'
    shown = json.loads(apart(pair, base, (python("r['at'] = [48.1, 11.5]"), python("r['at'] = [53.5, 9.9]"))))
    assert shown['at'] in ([48.1, 11.5], [53.5, 9.9])


def test_conflict_inside_an_element_is_named_by_its_id(pair):
    apart(pair, JQ, (jq('.items[1].price = 7 | .tags[1] = "p"'), jq('.items[1].price = 8 | .tags[1] = "q"')))
    for node in pair.nodes:
        lost = node.text(f'{LOST}/r.json@fields')
        assert 'items[id=2].price' in lost and 'tags[1]' in lost


def test_log_tells_what_happened_to_elements(node):
    node.write('r.json', JQ)
    node.sh(jq('.items[1].price = 7'))
    node.sh(jq('.tags += ["c"]'))
    told = node.run('log', node.path('r.json')).stdout
    assert 'items[id=2].price 6 → 7' in told and 'tags[2]' in told


def test_saving_equal_values_again_makes_no_operation(node):
    node.write('r.json', JQ)
    before = rev_count(node)
    node.sh(jq('.'))
    node.sh('touch r.json; cp r.json /dev/shm/again.$$; cat /dev/shm/again.$$ > r.json; rm /dev/shm/again.$$')
    assert rev_count(node) == before


# ---- formatting ----

WRITERS = {
    'dump': (python, ''), 'dump-2': (python, ', indent=2'), 'dump-4': (python, ', indent=4'),
    'dump-sorted': (python, ', indent=1, sort_keys=True'), 'dump-tab': (python, r", indent='\t'"),
    'dump-compact': (python, ", separators=(',', ':')"),
    'stringify': (node_js, ''), 'stringify-2': (node_js, ', null, 2'), 'stringify-tab': (node_js, r", null, '\t'"),
}
RECORD = {'b': 'x', 'd': [1, 2, 3, 4, 5], 'f': {'y': 'é', 'z': []}, 'h': [{'id': 1, 'v': True}, {'id': 2, 'v': None}],
          'j': {}, 'é': 1.0}


@pytest.mark.parametrize('writer', WRITERS)
def test_what_a_tool_wrote_merges_as_if_it_had_written_the_merge(pair, writer):
    language, style = WRITERS[writer]
    if language is node_js and not shutil.which('node'):
        pytest.skip('no node here')

    def edit(py, js):
        return python(py, style) if language is python else node_js(js, style)

    a, b = pair.nodes
    a.write('r.json', json.dumps(RECORD))
    a.sh(edit('', ''))
    shown = apart(pair, a.text('r.json'), (
        edit("r['b'] = 'X'; r['d'].insert(2, 9); r['h'].append({'id': 3, 'v': {'q': []}})",
             "r.b = 'X'; r.d.splice(2, 0, 9); r.h.push({id: 3, v: {q: []}})"),
        edit("r['f']['y'] = 'u'; r['f']['zz'] = [[1, 2], []]; del r['j']; r['h'][0]['v'] = {'w': 1}",
             "r.f.y = 'u'; r.f.zz = [[1, 2], []]; delete r.j; r.h[0].v = {w: 1}")))
    want = json.loads(json.dumps(RECORD))
    want.update(b='X', d=[1, 2, 9, 3, 4, 5], f={'y': 'u', 'z': [], 'zz': [[1, 2], []]},
                h=[{'id': 1, 'v': {'w': 1}}, {'id': 2, 'v': None}, {'id': 3, 'v': {'q': []}}])
    del want['j']
    assert json.loads(shown) == want
    a.sh(edit('', ''))
    assert a.text('r.json') == shown


def test_keys_added_in_the_middle_of_sorted_output(pair):
    base = json.dumps({k: 1 for k in 'bdfhj'}, indent=2, sort_keys=True)
    shown = apart(pair, base, (python("r['c'] = 2", ', indent=2, sort_keys=True'),
                               python("r['g'] = 3; r['a'] = 4", ', indent=2, sort_keys=True')))
    assert shown == json.dumps(dict.fromkeys('bdfhj', 1) | {'c': 2, 'g': 3, 'a': 4}, indent=2, sort_keys=True)


def test_reformatting_here_and_an_edit_there_are_both_kept(pair):
    shown = apart(pair, JQ, (jq('.', options='--indent 4'), jq('.items[0].price = 7 | .tags += ["c"]')))
    want = json.loads(JQ)
    want['items'][0]['price'] = 7
    want['tags'].append('c')
    assert shown == json.dumps(want, indent=4) + '\n'


HAND = '''{ "title" : "By hand",

  "matrix": [ [1, 0, 0],  [0, 1, 0],
              [0, 0, 1] ],
  "list": ["a",   "b", "c"],   "x":1,
    "people": [
      {"name": "Ann",  "age": 4},
      {"name": "Bob",  "age": 5} ]
}

'''


def test_a_merge_touches_the_bytes_of_what_changed(pair):
    shown = apart(pair, HAND, ('sed -i s/By.hand/Merged/ r.json', 'sed -i \'s/"age": 5/"age": 55/\' r.json'))
    assert shown == HAND.replace('By hand', 'Merged').replace('"age": 5}', '"age": 55}')


def test_elements_put_into_what_was_formatted_by_hand(pair):
    ann = '      {"name": "Ann",  "age": 4},\n'
    shown = apart(pair, HAND, (lambda n: n.write('r.json', HAND.replace(ann, ann + ann.replace('Ann', 'Al'))),
                               'sed -i \'s/"age": 5/"age": 55/; s/"a",   /"a",   "aa", /\' r.json'))
    assert shown == (HAND.replace(ann, ann + ann.replace('Ann', 'Al')).replace('"age": 5}', '"age": 55}')
                     .replace('"a",   ', '"a",   "aa", '))


@pytest.mark.parametrize('base', [
    '\ufeff{"a": 1,\r\n "b": [\r\n  "x"\r\n ]}\r\n', '{"a": 1, "b\\/c": 2, "\\u00e9": 3}', '{"a":1}\n\n\n', ' {"a":1e400}',
    '{\n\t"a": -0,\n\t"n": 10000000000000000999,\n\t"m": 1.0,\n\t"o": 1.000000000000000005\n}'])
def test_what_is_unusual_stays(pair, base):
    shown = apart(pair, base, ('sed -i \'s/"a":/"aa":/\' r.json', 'sed -i \'0,/}/s/}/,"z":"new"}/\' r.json'))
    assert '"aa":' in shown and '"z":"new"' in shown
    kept = shown.replace('"aa":', '"a":').replace(',"z":"new"', '')
    assert sorted(kept) == sorted(base) and kept[-1] == base[-1] and kept[0] == base[0]


# ---- bad input ----

def nested(depth, inside='1'):
    return '[' * depth + inside + ']' * depth


@pytest.mark.parametrize('text', [
    nested(64), nested(65), nested(1000), nested(10000), nested(200000), '{"a":' * 300 + '1' + '}' * 300,
    '{"a": 1, "a": 2}', '{"a": "\\ud800"}', '{"a": "\\u0000"}', '{"a": "x\x00y"}', '\x00', '{"a": [1, 2', '[1, 2,]',
    '// a comment\n{\n  "a": 1, // another\n}\n', '{"a": NaN}', '"just a string"', '17', '[]', '[[], {}]', '', ' \n'],
    ids=range(21))
def test_odd_json_reads_back_on_both_devices(pair, text):
    a, b = pair.nodes
    a.write('odd.json', text)
    pair.synced()
    assert a.text('odd.json') == text == b.text('odd.json')
    b.write('odd.json', text + ' ')
    pair.synced()
    assert a.text('odd.json') == text + ' '


def test_two_edits_of_something_nested_deeply(pair):
    base = '{"deep": ' + nested(300) + ', "flat": 1}'
    shown = apart(pair, base, ('sed -i s/flat/Flat/ r.json', 'sed -i s/.1./[2]/ r.json'))
    assert json.loads(shown)['Flat'] == 1 and '[2]' in shown


def test_comments_survive(pair):
    base = '{\n  // keep me\n  "compilerOptions": {\n    "strict": true, /* and me */\n    "target": "es5"\n  }\n}\n'
    shown = apart(pair, base, ('sed -i s/true/false/ tsconfig.json', 'true'), name='tsconfig.json')
    assert shown == base.replace('true', 'false')


def test_a_large_array(pair):
    a, b = pair.nodes
    base = json.dumps({'list': list(range(100000))})
    shown = apart(pair, base, (python("r['list'][5] = -5; r['list'].append(7)"), python("del r['list'][99990]")))
    want = list(range(100000)) + [7]
    want[5] = -5
    del want[99990]
    assert json.loads(shown)['list'] == want
    assert shown == json.dumps({'list': want})
    eventually(lambda: a.text('r.json') == b.text('r.json'))


LIMITS = {
    'deep': (b'[' * 100001 + b']' * 100001, 'JSON nested more than 100,000 levels deep'),
    'twice': (b'{"a":1,"a":2}', 'not valid JSON, duplicate key (line 1, column 13)'),
    'surrogate': (b'{"a":"\\ud800"}', 'not valid JSON, bad escape or lone surrogate in a string'),
    'nul': (b'{"a":"\0"}', 'not valid JSON, control character in a string'),
    'latin1': (b'{"a":"caf\xe9"}', 'not valid JSON, invalid UTF-8'),
    'half': (b'{"a":', 'not valid JSON, expected a value'),
}


@pytest.mark.parametrize('case', LIMITS)
def test_why_json_is_not_merged_by_field_is_said(pair, case):
    a, b = pair.nodes
    content, why = LIMITS[case]
    a.write('r.json', content)
    pair.synced()
    assert b.read('r.json') == content
    for node in (a, b):
        assert why in node.run('status', '--check', code=3).stdout
        assert why in node.run('log', 'r.json', cwd=node.mnt).stdout.splitlines()[0]
    assert ('100,000 levels' in (a.directory / 'daemon.log').read_text(encoding='utf-8')) == (case == 'deep')
    b.write('r.json', '{"a": 1}')
    pair.synced()
    assert 'JSON that is merged by field again' in a.log('r.json')[-1]['summary']


def test_ten_thousand_levels_are_merged_by_field(pair):
    a, b = pair.nodes
    deep = b'{"x": 1, "d": ' + b'[' * 10000 + b']' * 10000 + b', "y": 1}\n'
    a.write('r.json', deep)
    pair.synced()
    pair.cut()
    a.write('r.json', deep.replace(b'"x": 1', b'"x": 2'))
    b.write('r.json', deep.replace(b'"y": 1', b'"y": 2'))
    pair.restore()
    pair.synced()
    assert a.read('r.json') == deep.replace(b'"x": 1', b'"x": 2').replace(b'"y": 1', b'"y": 2')
    a.run('status', '--check')


def test_a_file_that_flips_between_kinds(pair):
    a, b = pair.nodes
    kinds = ['{"a": 1}\n', 'a text\nof lines\n', '\0\1binary', '[1, 2, 3]\n', '', '{"a"', '"x"', '{"b": 2}\n']
    for i, content in enumerate(kinds * 2):
        (a, b)[i % 2].write('r.json', content)
        pair.synced()
    pair.cut()
    a.write('r.json', 'text\n')
    b.write('r.json', '{"b": 3}\n')
    pair.restore()
    pair.synced()
    shown = a.text('r.json')
    assert shown in ('text\n', '{"b": 3}\n') and len(a.names('.blaze/conflicts')) == 1
