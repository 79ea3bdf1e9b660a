"""Real programs save a record: it stays the same record, one save is one change, and only it travels."""
import subprocess

import pytest

from blazetest.wait import eventually

PYTHON_REPLACE = '''/usr/bin/python3 - "$1" <<'P'
import os, sys, tempfile
path = sys.argv[1]
text = open(path).read().replace('open', 'done')
with tempfile.NamedTemporaryFile('w', dir=os.path.dirname(path) or '.', delete=False) as f:
    f.write(text)
    f.flush()
    os.fsync(f.fileno())
os.replace(f.name, path)
P'''
PYTHON_DUMP = '''/usr/bin/python3 - "$1" <<'P'
import json, sys
value = json.load(open(sys.argv[1]))
value['status'] = 'done'
json.dump(value, open(sys.argv[1], 'w'), indent=2)
P'''
VIM = 'vim -es -u NONE -i NONE {options} -c "%s/open/done/" -c wq "$1" </dev/null'

# Each changes "open" to "done" in the file $1.
SAVES = {
    'sed -i': 'sed -i s/open/done/ "$1"',
    'jq and sponge': 'jq \'.status="done"\' "$1" | sponge "$1"',
    'jq and mv': 'jq \'.status="done"\' "$1" > "$1.tmp" && mv "$1.tmp" "$1"',
    'jq and mv of .new': 'jq \'.status="done"\' "$1" > "$1.new" && mv "$1.new" "$1"',
    'vim': VIM.format(options='-c "set backupcopy=auto"'),
    'vim with backupcopy=no': VIM.format(options='-c "set backupcopy=no writebackup"'),
    'vim with backupcopy=yes': VIM.format(options='-c "set backupcopy=yes writebackup"'),
    'vim with a kept backup': VIM.format(options='-c "set backup backupcopy=no"'),
    'python os.replace': PYTHON_REPLACE,
    'python json.dump': PYTHON_DUMP,
    'cp': 'sed s/open/done/ "$1" > "$HOME/new"; cp "$HOME/new" "$1"',
    'cp -a': 'sed s/open/done/ "$1" > "$HOME/new"; cp -a "$HOME/new" "$1"',
    'mv from elsewhere': 'sed s/open/done/ "$1" > "$HOME/new"; mv "$HOME/new" "$1"',
    'install': 'sed s/open/done/ "$1" > "$HOME/new"; install -m 644 "$HOME/new" "$1"',
    'tee': 'sed s/open/done/ "$1" > "$HOME/new"; tee "$1" < "$HOME/new" >/dev/null',
    'redirection': 'text=$(sed s/open/done/ "$1"); echo "$text" > "$1"',
    'append': 'printf \'\\n{"status":"done"}\' >> "$1"',
    'rsync': 'sed s/open/done/ "$1" > "$HOME/new"; rsync -c "$HOME/new" "$1"',
    'rsync --inplace': 'sed s/open/done/ "$1" > "$HOME/new"; rsync -c --inplace "$HOME/new" "$1"',
    'tar': 'mkdir -p "$HOME/t/$(dirname "$1")"; sed s/open/done/ "$1" > "$HOME/t/$1"; tar c -C "$HOME/t" "$1" | tar x',
    'perl -i.bak': 'perl -i.bak -pe s/open/done/ "$1"',
    'dd': 'printf done | dd of="$1" bs=1 seek=11 conv=notrunc status=none',
}
RECORD = '{"status": "open", "title": "Crash on save", "priority": 2}\n'


def save(node, how, path):
    node.sh(f'f() {{ {SAVES[how]}\n}}; f {path}')
    node.run('wait', '--timeout', '20s', code=None)


@pytest.mark.parametrize('how', SAVES)
def test_record_keeps_its_identity_with_one_change(node, how):
    node.write('bugs/crash.json', RECORD)
    identity = node.xattr('bugs/crash.json', 'blaze.id')
    before = node.log('bugs/crash.json')
    save(node, how, 'bugs/crash.json')
    assert 'done' in node.text('bugs/crash.json')
    assert node.xattr('bugs/crash.json', 'blaze.id') == identity
    after = node.log('bugs/crash.json')
    assert after[:-1] == before, after


@pytest.mark.parametrize('how', SAVES)
def test_only_the_record_reaches_the_other_device(pair, how):
    a, b = pair.nodes
    a.write('bugs/crash.json', RECORD)
    pair.synced()
    identity = b.xattr('bugs/crash.json', 'blaze.id')
    save(a, how, 'bugs/crash.json')
    leftover = {'perl -i.bak': ['crash.json', 'crash.json.bak']}
    a.wait()
    assert 'done' in b.text('bugs/crash.json') and b.read('bugs/crash.json') == a.read('bugs/crash.json')
    assert b.names('bugs') == leftover.get(how, ['crash.json'])
    assert b.xattr('bugs/crash.json', 'blaze.id') == identity


def test_new_record_is_one_change(node):
    node.sh('echo "{}" > a.json')
    assert len(node.log('a.json')) == 1


def test_same_bytes_again_are_no_change(node):
    path = node.write('a.json', RECORD)
    path.write_text(RECORD)
    node.sh('cp a.json b.json; cp b.json a.json; touch a.json; chmod 600 a.json')
    assert len(node.log('a.json')) == 1


def test_rename_keeps_identity_and_history(node):
    node.write('bugs/old.json', RECORD)
    identity = node.xattr('bugs/old.json', 'blaze.id')
    node.sh('mkdir bugs/sub; mv bugs/old.json bugs/sub/new.json')
    assert node.xattr('bugs/sub/new.json', 'blaze.id') == identity
    assert len(node.log('bugs/sub/new.json')) == 2


def test_move_to_another_collection_arrives_whole(pair):
    a, b = pair.nodes
    a.write('bugs/r.json', RECORD)
    pair.synced()
    a.sh('mkdir done; mv bugs/r.json done/')
    pair.synced()
    assert b.text('done/r.json') == RECORD and b.names('bugs') == []


def test_rename_over_a_record_is_an_edit_of_it_while_the_inode_is_the_new_one(node):
    node.write('record.json', RECORD)
    temp = node.write('record.json.tmp', RECORD.replace('open', 'done'))
    identity, inode = node.xattr('record.json', 'blaze.id'), temp.stat().st_ino
    temp.rename(node.path('record.json'))
    assert node.path('record.json').stat().st_ino == inode
    assert node.xattr('record.json', 'blaze.id') == identity


def test_stale_save_does_not_revert_what_arrived_meanwhile(pair):
    a, b = pair.nodes
    a.write('r.json', '{"mine": 1, "theirs": 1}\n')
    pair.synced()
    with open(a.path('r.json'), 'r+', encoding='utf-8') as f:
        f.read()
        b.write('r.json', '{"mine": 1, "theirs": 2}\n')
        b.wait()
        f.seek(0)
        f.write('{"mine": 2, "theirs": 1}\n')
    pair.synced()
    assert a.text('r.json') == '{"mine": 2, "theirs": 2}\n'


def test_git_works_in_a_text_collection(pair):
    a, b = pair.nodes
    a.write('notes/todo.txt', 'milk\n')
    git = 'git -c user.name=t -c user.email=t@example.org -c init.defaultBranch=main'
    a.sh(f'{git} init -q && git add . && {git} commit -qm first && git fsck --strict', cwd='notes')
    a.sh(f'echo eggs >> todo.txt && {git} commit -qam second && git checkout -q HEAD~1', cwd='notes')
    assert a.text('notes/todo.txt') == 'milk\n'
    a.sh('git checkout -q main && git status --porcelain | wc -l | grep -qx 0', cwd='notes')
    a.wait()
    assert b.text('notes/todo.txt') == 'milk\neggs\n' and b.names('notes') == ['todo.txt']


def test_git_repository_survives_a_remount(node):
    git = 'git -c user.name=t -c user.email=t@example.org'
    node.sh(f'git init -q . && echo x > a.txt && git add . && {git} commit -qm x')
    node.remount().sh('git fsck --strict && test -z "$(git status --porcelain)"')


def test_sqlite_database_works(node):
    script = '''import sqlite3
db = sqlite3.connect('data.db')
db.execute('create table t (n integer)')
for i in range(20):
    with db: db.execute('insert into t values (?)', (i,))
assert db.execute('pragma integrity_check').fetchone() == ('ok',)
'''
    node.write('make.py', script)
    node.sh('/usr/bin/python3 make.py')
    check = "import sqlite3; assert sqlite3.connect('data.db').execute('select count(*) from t').fetchone() == (20,)"
    node.remount().sh(f'/usr/bin/python3 -c "{check}"')


@pytest.mark.parametrize('before', ['one\n', None])
def test_redirection_of_a_shell_is_one_change(node, before):
    """`>` truncates, duplicates and closes before the command writes: nothing empty may be published."""
    if before:
        node.write('notes.txt', before)
    subprocess.run(['sh', '-c', '(sleep 0.05; echo two) > notes.txt'], cwd=node.mnt, check=True)
    eventually(lambda: node.status()['held'] == 0)
    entries = node.log('notes.txt')
    assert len(entries) == (2 if before else 1), entries
