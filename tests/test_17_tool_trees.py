"""Tools that work on more than one file: archives, repositories, databases, directories made aside and moved in."""
import os

import pytest

from blazetest.place import Watch
from blazetest.saves import JSON
from blazetest.wait import eventually

GIT = 'git -c user.name=t -c user.email=t@example.org -c init.defaultBranch=main -c protocol.file.allow=always'
REPOSITORY = f'{GIT} init -q; {GIT} add .; {GIT} commit -qm x; '
ONE = 'mkdir "$1"; echo "{}" > "$1/r.json"; '
SQL = ('import sqlite3; d = sqlite3.connect("a.db"); d.execute("pragma journal_mode=MODE"); '
       'd.execute("create table if not exists t (n integer)"); d.execute("insert into t values (1)"); '
       'd.commit(); assert d.execute("pragma integrity_check").fetchone() == ("ok",); d.close()')


def many(at='$1'):
    return f'for i in 1 2 3; do mkdir -p "{at}/s$i"; echo "{{\\"n\\": $i}}" > "{at}/s$i/r.json"; done; '


def sqlite(mode):
    return f"mkdir \"$1\"; cd \"$1\"; /usr/bin/python3 -c '{SQL.replace('MODE', mode)}'; ls; rm a.db"


# What each script makes at $1 or in it; $HOME is on another file system.
WORK = {
    'tar x': many('$HOME/t/$1') + 'tar c -C "$HOME/t" "$1" | tar x',
    'tar x over it': many() + many('$HOME/t/$1') + 'tar c -C "$HOME/t" "$1" | tar x',
    'cp -a': many('$HOME/t') + 'cp -a "$HOME/t" "$1"',
    'cp -a within': many('from') + 'cp -a from "$1"',
    'mv of a tree': many('$HOME/t') + 'mv "$HOME/t" "$1"',
    'rsync -aX': many('$HOME/t') + 'rsync -aX "$HOME/t/" "$1/"',
    'rsync -aX within': many('from') + 'rsync -aX from/ "$1/"',
    'rsync --delay-updates': many('$HOME/t') + 'rsync -a --delay-updates "$HOME/t/" "$1/"',
    'rsync --delete': many() + 'mkdir "$HOME/e"; rsync -a --delete "$HOME/e/" "$1/"',
    'unzip': many('$HOME/t') + '(cd "$HOME/t" && zip -qr ../a.zip .); unzip -q "$HOME/a.zip" -d "$1"',
    'zip and update': many() + 'cd "$1"; touch -d 2024-05-06 s1 s[12]/r.json; zip -qrX a.zip s1; '
                      'zip -qX a.zip s2/r.json; unzip -tq a.zip',
    'gzip': ONE + 'gzip -n "$1/r.json"',
    'gzip and gunzip': ONE + 'gzip "$1/r.json"; gunzip "$1/r.json.gz"',
    'gzip -k': ONE + 'gzip -nk "$1/r.json"',
    'xz': ONE + 'xz "$1/r.json"; xz -d "$1/r.json.xz"',
    'ln -sf': ONE + 'echo a > "$1/a"; ln -s a "$1/l"; ln -sf r.json "$1/l"; ln -sfn a "$1/r.json"',
    'sqlite': sqlite('delete'),
    'sqlite wal': sqlite('wal'),
    'sqlite3': 'mkdir "$1"; sqlite3 "$1/a.db" "create table t (n); insert into t values (1);"; '
               'sqlite3 "$1/a.db" "vacuum; select * from t"; rm "$1/a.db"',
    'git init, add, commit, gc': f'{many()} cd "$1"; {REPOSITORY} {GIT} gc -q; {GIT} fsck --strict; '
                                 f'{GIT} status --porcelain',
    'git clone': f'{many("from")} (cd from; {REPOSITORY}); {GIT} clone -q from "$1"; cd "$1"; '
                 f'{GIT} status --porcelain',
    'git branches': f'{many()} cd "$1"; {REPOSITORY} {GIT} checkout -qb other; {GIT} rm -qr s1; '
                    f'echo "{{}}" > s2/r.json; {GIT} commit -qam y; {GIT} checkout -q main; {GIT} merge -q other; '
                    f'{GIT} status --porcelain',
    'mkdir .tmp, mv': many('$1.tmp') + 'mv "$1.tmp" "$1"',
    'mkdir .new, mv': many('$1.new') + 'mv "$1.new" "$1"',
    'mktemp -d, mv': 'd=$(mktemp -d "$1.XXXXXX"); chmod 755 "$d"; echo "{}" > "$d/r.json"; ln -s r.json "$d/l"; '
                     'mv "$d" "$1"',
    'mktemp -d within': 'mkdir "$1"; d=$(mktemp -d -p "$1"); mkdir "$d/deep"; echo "{}" > "$d/deep/r.json"; '
                        'mv "$d/deep/r.json" "$1/"; rm -r "$d"',
    'npm': 'mkdir "$1"; mkdir "$1/.left-pad-Ab3dEf9h"; echo "{}" > "$1/.left-pad-Ab3dEf9h/package.json"; '
           'mv "$1/.left-pad-Ab3dEf9h" "$1/left-pad"',
    'unison': many() + 'mkdir "$HOME/u"; unison "$PWD/$1" "$HOME/u" -batch -silent; echo "{}" > "$HOME/u/s1/r.json"; '
                       'unison "$PWD/$1" "$HOME/u" -batch -silent; cat "$1/s1/r.json"',
    'split': 'mkdir "$1"; seq 100 | split -l 30 - "$1/part-"',
}


def travelling(tree):
    """What of a tree other devices get."""
    private = ('.git', '.tmp', '~')
    return {path: what for path, what in tree.items()
            if not any(part.endswith(private) for part in path.split('/'))}


@pytest.mark.parametrize('how', WORK)
def test_work_is_as_on_any_file_system_and_only_its_result_travels(pair, places, how):
    a, b = pair.nodes
    a.write('w/x', '')
    pair.synced()
    (places[1].root / 'w').mkdir()
    (places[1].root / 'w/x').touch()
    with Watch(b) as watch:
        mounted, plain = (place.sh(f'cd w; {WORK[how]}', 'dir') for place in places)
        eventually(lambda: a.status()['held'] == 0)
        a.wait()
    assert plain[0] == 0, plain
    assert _without_dir_times(mounted) == _without_dir_times(plain)
    assert b.tree() == travelling(a.tree())
    assert not [path for path in watch.seen if _is_temporary(path)]


def _without_dir_times(result):
    code, output, facts = result
    return code, output, {path: fact[:4] + fact[5:] for path, fact in facts.items()}


def _is_temporary(path):
    return any(part.endswith(('.tmp', '.new', '-journal', '-wal', '-shm', '~')) or
               part.startswith(('.~', 'zi', 'dir.', 'tmp.', '.left')) for part in path.split('/'))


def test_directory_that_looks_temporary_travels_when_it_is_left_alone(pair):
    a, b = pair.nodes
    a.sh('mkdir -p w/x.new/deep; echo "{}" > w/x.new/deep/r.json; ln -s deep w/x.new/l')
    assert a.status()['held'] > 0
    eventually(lambda: a.status()['held'] == 0)
    a.wait()
    assert b.tree() == a.tree() and b.text('w/x.new/deep/r.json') == '{}\n'


def test_directory_that_looks_temporary_waits_for_its_writers(pair):
    a, b = pair.nodes
    a.path('w').mkdir()
    a.path('w/x.new').mkdir()
    with open(a.path('w/x.new/r.json'), 'w', encoding='utf-8') as f:
        f.write('{"n":')
        f.flush()
        a.write('w/marker', 'x')
        eventually(lambda: b.exists('w/marker'))
        f.write('1}')
    a.path('w/x.new').rename(a.path('w/x'))
    a.wait()
    assert b.names('w') == ['marker', 'x'] and b.text('w/x/r.json') == '{"n":1}'


def test_directory_held_back_is_published_after_a_crash(pair):
    a, b = pair.nodes
    a.sh('mkdir -p w/x.new; echo "{}" > w/x.new/r.json')
    a.kill9()
    pair.remount_hub()
    eventually(lambda: a.status()['held'] == 0)
    eventually(lambda: b.exists('w/x.new/r.json'))
    assert b.text('w/x.new/r.json') == '{}\n'


def test_file_moved_out_of_a_directory_held_back_is_a_save(pair):
    a, b = pair.nodes
    a.write('w/r.json', JSON)
    pair.synced()
    identity, changes = a.xattr('w/r.json', 'blaze.id'), a.status()['changes']
    a.sh('mkdir w/tmp.Ab3dEf9h; sed s/open/done/ w/r.json > w/tmp.Ab3dEf9h/r.json; '
         'mv w/tmp.Ab3dEf9h/r.json w/r.json; rmdir w/tmp.Ab3dEf9h')
    a.wait()
    assert a.xattr('w/r.json', 'blaze.id') == identity and a.status()['changes'] == changes + 1
    assert 'done' in b.text('w/r.json')


def test_copies_carry_no_facts_of_the_record(pair, directory):
    a, b = pair.nodes
    path = a.write('w/r.json', JSON)
    os.setxattr(path, 'user.color', b'red')
    a.sh(f'cp -a w/r.json w/copy.json; cp -a w/r.json {directory}/r.json; cp -a {directory}/r.json w/back.json; '
         f'rsync -aX w/r.json {directory}/rsync.json; tar c --xattrs w/r.json | tar x --xattrs -C {directory}; '
         f'mv {directory}/rsync.json w/moved.json')
    ids = {a.xattr(f'w/{name}', 'blaze.id') for name in a.names('w')}
    assert len(ids) == 4
    for copy in (directory / 'r.json', directory / 'w/r.json', *(a.path(f'w/{name}') for name in a.names('w'))):
        assert os.listxattr(copy) == ['user.color']
    pair.synced()
    assert b.xattr('w/copy.json', 'blaze.id') == a.xattr('w/copy.json', 'blaze.id') != a.xattr('w/r.json', 'blaze.id')
