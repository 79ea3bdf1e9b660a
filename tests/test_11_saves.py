"""What a save is: bytes, names and identity, step by step. Real tools: test_15_tools and after."""
import os
import subprocess

import pytest

from blazetest.wait import eventually, now

RECORD = '{"status": "open", "title": "Crash on save", "priority": 2}\n'


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


@pytest.mark.parametrize('away', [os.unlink, lambda path: os.rename(path, f'{path}~')], ids=['unlink', 'rename'])
def test_record_gone_and_back_again_and_again_is_one_record(node, away):
    """For longer than the grace time: the end of an earlier one must not end a later one."""
    path, until, count = node.write('dir/r.json', RECORD), now() + 2, 0
    while now() < until:
        away(path)
        count += 1
        path.write_text(f'{{"n": {count}}}\n')
    eventually(lambda: node.status()['held'] == 0)
    assert node.status()['changes'] == count + 2 and len(node.log('dir/r.json')) == count + 1


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
