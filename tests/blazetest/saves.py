"""How programs save: each script changes `open` to `done` in the file $1, and is one change of one record."""
from dataclasses import dataclass

JSON = '{"status": "open", "title": "Crash on save", "priority": 2}\n'
TEXT = 'the door is open\nand so is the window\n'

VIM = 'vim -es -N -u NONE -i NONE -c "set backupskip= {options}" -c "%s/open/done/e" -c wq "$1"'
EMACS = '''emacs -Q --batch --eval '(progn
  (setq backup-enable-predicate (lambda (_) t) create-lockfiles t {options}))' "$1" --eval '(progn
  (while (search-forward "open" nil t) (replace-match "done"))
  (set-buffer-modified-p t) (lock-buffer) (do-auto-save t t) (save-buffer) (unlock-buffer))' 2>/dev/null'''
PYTHON = '''/usr/bin/python3 - "$1" <<'P'
import json, mmap, os, sys, tempfile
path = sys.argv[1]
folder, name = os.path.split(path)
with open(path) as f:
    text = f.read().replace('open', 'done')
{body}
P'''
NODE = '''NODE_PATH=/usr/share/nodejs node -e '
const fs = require("fs"), path = process.argv[1];
const text = fs.readFileSync(path, "utf8").replace("open", "done");
{body}' "$1"'''
GIT = 'git -c user.name=t -c user.email=t@example.org -c init.defaultBranch=main -C "$(dirname "$1")"'
COMMIT = f'{GIT} init -q && {GIT} add . && {GIT} commit -qm first'
# The new bytes, outside of the mount, with a time of their own.
NEW = 'sed s/open/done/ "$1" > "$HOME/new"; touch -d 2024-05-06T07:08:09Z "$HOME/new"; '
DIFF = NEW + '(diff -u "$1" "$HOME/new" || true) | sed "1s,.*,--- a/r.json,; 2s,.*,+++ b/r.json," > "$HOME/diff"; '


@dataclass(frozen=True)
class Save:
    script: str
    name: str = 'r.json'
    travels: tuple = ()   # what it leaves besides, and other devices get
    before: str = ''      # run first; is no save
    again: bool = True    # a second time it saves the same bytes

    @property
    def content(self):
        return JSON if self.name.endswith('.json') else TEXT


def python(*lines, **kw):
    return Save(PYTHON.format(body='\n'.join(lines)), **kw)


def written(how, *after):
    """A file `temp` beside the record gets the text, then `after` happens."""
    return (f'temp = os.path.join(folder, {how})',
            "with open(temp, 'x') as f:", '    f.write(text)', '    f.flush()', '    os.fsync(f.fileno())',
            *after)


EDITORS = {
    'vim': Save(VIM.format(options='backupcopy=auto')),
    'vim backupcopy=no': Save(VIM.format(options='backupcopy=no')),
    'vim backupcopy=yes': Save(VIM.format(options='backupcopy=yes')),
    'vim backupcopy=breaksymlink': Save(VIM.format(options='backupcopy=auto,breaksymlink')),
    'vim backupcopy=breakhardlink': Save(VIM.format(options='backupcopy=yes,breakhardlink')),
    'vim nowritebackup': Save(VIM.format(options='nowritebackup')),
    'vim backup': Save(VIM.format(options='backup backupcopy=no')),
    'vim backup by copying': Save(VIM.format(options='backup backupcopy=yes')),
    'vim undofile': Save(VIM.format(options='undofile')),
    'vim swap file': Save('vim -es -N -u NONE -i NONE -c "%s/open/done/e" -c preserve -c "set backupskip=" '
                          '-c "call system(\'ls -A dir >$HOME/swap\')" -c wq "$1"; '
                          'grep -qx ".r.json.swp" "$HOME/swap"'),
    'emacs': Save(EMACS.format(options='make-backup-files nil')),
    'emacs backup': Save(EMACS.format(options='make-backup-files t')),
    'emacs backup-by-copying': Save(EMACS.format(options='make-backup-files t backup-by-copying t')),
    'emacs version-control': Save(EMACS.format(
        options='make-backup-files t version-control t delete-old-versions t')),
    'emacs file-precious-flag': Save(EMACS.format(options='make-backup-files nil file-precious-flag t')),
    'ed': Save('printf ",s/open/done/\\nw\\n" | ed -s "$1" || true'),
    'gedit (gio)': Save(NEW + 'gio save "$1" < "$HOME/new"'),
    'gedit (gio) with a backup': Save(NEW + 'gio save --backup "$1" < "$HOME/new"'),
    'JetBrains': python(*written(
        "name + '___jb_tmp___'", "old = os.path.join(folder, name + '___jb_old___')",
        'os.rename(path, old)', 'os.rename(temp, path)', 'os.unlink(old)')),
    'KDE': python(*written("name + '.XbQwPz'", 'os.chmod(temp, 0o644)', 'os.rename(temp, path)')),
    'Kate': python("swap = os.path.join(folder, '.' + name + '.kate-swp')", "open(swap, 'w').write('swap')",
                   *written("name + '.aLbHoe'", 'os.rename(temp, path)', 'os.unlink(swap)')),
    'LibreOffice': python(
        "lock = os.path.join(folder, '.~lock.' + name + '#')", "open(lock, 'x').write(',ana,laptop,;')",
        *written("'lu18301w3kq7.tmp'", "with open(path, 'r+') as f:", '    f.truncate(0)', '    f.write(text)',
                 'os.unlink(temp)', 'os.unlink(lock)')),
}
FILTERS = {
    'sed -i': Save('sed -i s/open/done/ "$1"'),
    'sed -i.bak': Save('sed -i.bak s/open/done/ "$1"', travels=('r.json.bak',)),
    'sed -i~': Save('sed -i~ s/open/done/ "$1"'),
    'perl -i': Save('perl -i -pe s/open/done/ "$1"'),
    'perl -i.bak': Save('perl -i.bak -pe s/open/done/ "$1"', travels=('r.json.bak',)),
    'patch': Save('patch -s "$1" "$HOME/diff"', before=DIFF, again=False),
    'patch -b': Save('patch -s -b "$1" "$HOME/diff"', before=DIFF, again=False, travels=('r.json.orig',)),
    'jq, mv of .tmp': Save('jq -c \'.status="done"\' "$1" > "$1.tmp" && mv "$1.tmp" "$1"'),
    'jq, mv of .new': Save('jq -c \'.status="done"\' "$1" > "$1.new" && mv "$1.new" "$1"'),
    'jq, mv of a process id': Save('jq -c \'.status="done"\' "$1" > "$1.$$" && mv "$1.$$" "$1"'),
    'jq, mv of mktemp': Save('t=$(mktemp "$1.XXXXXX") && jq -c \'.status="done"\' "$1" > "$t" && mv "$t" "$1"'),
    'jq, sponge': Save('jq -c \'.status="done"\' "$1" | sponge "$1"'),
    'sort -o': Save('sed s/open/done/ "$1" | sort -o "$1"'),
    'tee': Save(NEW + 'tee "$1" < "$HOME/new" >/dev/null'),
    'redirection': Save('text=$(sed s/open/done/ "$1"); echo "$text" > "$1"'),
    'append': Save('printf "done\\n" >> "$1"', 'r.txt', again=False),
    'tee -a': Save('printf "done\\n" | tee -a "$1" >/dev/null', 'r.txt', again=False),
    'dd conv=notrunc': Save('printf done | dd of="$1" bs=1 seek=12 conv=notrunc status=none', 'r.txt'),
    'truncate': Save('truncate -s 12 "$1"', 'r.txt'),
    'truncate to grow': Save('truncate -s 4096 "$1"', 'r.txt'),
    'fallocate': Save('fallocate -l 4096 "$1"', 'r.txt'),
    'iconv -o': Save(NEW + 'iconv -f utf-8 -t utf-8 -o "$1" "$HOME/new"'),
}
COPIES = {
    'cp': Save(NEW + 'cp "$HOME/new" "$1"'),
    'cp -a': Save(NEW + 'cp -a "$HOME/new" "$1"'),
    'cp --remove-destination': Save(NEW + 'cp --remove-destination "$HOME/new" "$1"'),
    'cp --backup': Save(NEW + 'cp --backup "$HOME/new" "$1"'),
    'mv from elsewhere': Save(NEW + 'mv "$HOME/new" "$1"'),
    'mv --backup': Save(NEW + 'mv --backup "$HOME/new" "$1"'),
    'install': Save(NEW + 'install -m 640 "$HOME/new" "$1"'),
    'install --backup': Save(NEW + 'install --backup -m 640 "$HOME/new" "$1"'),
    'tar x': Save(NEW + 'tar c -C "$HOME" --transform "s,.*,$1," new | tar x'),
    'tar x --overwrite': Save(NEW + 'tar c -C "$HOME" --transform "s,.*,$1," new | tar x --overwrite'),
    'tar x --unlink-first': Save(NEW + 'tar c -C "$HOME" --transform "s,.*,$1," new | tar x --unlink-first'),
    'unzip': Save(NEW + 'mkdir -p "$HOME/z/$(dirname "$1")"; mv "$HOME/new" "$HOME/z/$1"; rm -f "$HOME/z.zip"; '
                  '(cd "$HOME/z" && zip -q ../z.zip "$1"); unzip -qo "$HOME/z.zip"'),
    'zcat': Save(NEW + 'gzip "$HOME/new"; zcat "$HOME/new.gz" > "$1"; rm "$HOME/new.gz"'),
    'rsync': Save(NEW + 'rsync -tc "$HOME/new" "$1"'),
    'rsync -a': Save(NEW + 'rsync -ac "$HOME/new" "$1"'),
    'rsync --inplace': Save(NEW + 'rsync -c --inplace "$HOME/new" "$1"'),
    'rsync --backup': Save(NEW + 'rsync -c --backup "$HOME/new" "$1"'),
    'rsync --delay-updates': Save(NEW + 'rsync -c --delay-updates "$HOME/new" "$1"'),
    'rsync --partial-dir': Save(NEW + 'rsync -c --partial-dir=.rsync-partial "$HOME/new" "$1"'),
    'git checkout': Save(
        f'{GIT} checkout -q next; {GIT} status --porcelain',
        before=f'{COMMIT} && {GIT} checkout -qb next && sed -i s/open/done/ "$1" && '
               f'{GIT} commit -qam next && {GIT} checkout -q main'),
    'git stash pop': Save(
        f'{GIT} stash pop -q', again=False,
        before=f'{COMMIT} && sed -i s/open/done/ "$1" && {GIT} stash -q'),
    'git apply': Save(f'{GIT} apply "$HOME/diff"', before=DIFF, again=False),
}
LIBRARIES = {
    'python write': python("with open(path, 'w') as f:", '    f.write(text)'),
    'python json.dump': python("with open(path, 'w') as f:", "    json.dump(json.loads(text), f, indent=2)"),
    'python os.replace': python(
        "with tempfile.NamedTemporaryFile('w', dir=folder, delete=False) as f:", '    f.write(text)',
        '    f.flush()', '    os.fsync(f.fileno())', 'os.replace(f.name, path)'),
    'python atomicwrites': python('from atomicwrites import atomic_write',
                                  'with atomic_write(path, overwrite=True) as f:', '    f.write(text)'),
    'python mmap': python("with open(path, 'r+b') as f, mmap.mmap(f.fileno(), 0) as m:",
                          '    m[:] = text.encode()', '    m.flush()'),
    'node writeFile': Save(NODE.format(body='fs.writeFileSync(path, text);')),
    'node write-file-atomic': Save(NODE.format(
        body='require("write-file-atomic")(path, text, e => { if (e) throw e; });')),
    'go renameio': python(*written("'.' + name + '1804289383'", 'os.chmod(temp, 0o644)', 'os.rename(temp, path)')),
    'rust tempfile': python(*written("'.tmpQ8wZ1x'", 'os.rename(temp, path)')),
    # One temporary name in a hundred has no digit and one case.
    'temporary name in lower case': python(*written("'.' + name + '.abcdef'", 'os.rename(temp, path)')),
    'temporary name in upper case': python(*written("name + '.QWERTY'", 'os.rename(temp, path)')),
    'temporary name beside Makefile': python(*written("'.' + name + '1804289383'", 'os.rename(temp, path)'),
                                             name='Makefile'),
    'temporary name of one word': python(*written("'tmpabcdefgh.json'", 'os.rename(temp, path)')),
    'backup and temporary name in lower case': python(*written(
        "name + '.oabcdef'", "os.rename(path, path + '.orig')", 'os.rename(temp, path)'), travels=('r.json.orig',)),
    'exchange': python(*written("name + '.tmp'", 'import ctypes',
                                'libc = ctypes.CDLL(None)',
                                'assert libc.renameat2(-100, temp.encode(), -100, path.encode(), 2) == 0',
                                'os.unlink(temp)')),
}
SAVES = {**EDITORS, **FILTERS, **COPIES, **LIBRARIES}
