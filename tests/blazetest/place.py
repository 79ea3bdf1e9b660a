"""The same program in a mount and in a directory of an ordinary file system, side by side."""
import os
import stat
import subprocess
import threading

from blazetest import wait

OLD = 1_600_000_000  # what was made "long ago" has this time


class Place:
    """A directory in which programs run, with a HOME outside of it."""

    def __init__(self, root, home):
        self.root, self.home = root, home
        for path in (home, home / 'tmp'):
            path.mkdir(parents=True, exist_ok=True)

    def put(self, path, content):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(0o644)
        os.utime(target, (OLD, OLD))

    def sh(self, script, path=''):
        """What a script with "$1" = path does to this place: exit code, output, and what is there then."""
        before = {p: os.lstat(self.root / p).st_ino for p in _walk(self.root)}
        env = {'PATH': os.environ['PATH'], 'HOME': str(self.home), 'TMPDIR': str(self.home / 'tmp'),
               'LC_ALL': 'C.UTF-8', 'TERM': 'dumb', 'USER': 'ana'}
        done = subprocess.run(['bash', '-euo', 'pipefail', '-c', script, 'bash', str(path)], cwd=self.root,
                              env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60 * wait.SCALE)
        output = (done.stdout + done.stderr).replace(str(self.root), '~').replace(str(self.home), 'HOME')
        return done.returncode, output, self.facts(before)

    def facts(self, before=()):
        """{path: kind, mode, owner, links, whether it is the old inode, its time if set, content}."""
        found = {}
        for path in _walk(self.root):
            st = os.lstat(self.root / path)
            if '.git' in path.split('/'):
                continue
            now = abs(st.st_mtime - wait.wall()) < 1000
            found[path] = (stat.filemode(st.st_mode), st.st_uid, st.st_gid, st.st_nlink,
                           path in before and before[path] == st.st_ino,
                           'now' if now or stat.S_ISDIR(st.st_mode) else st.st_mtime_ns,
                           _content(self.root / path, st))
        return found


def _walk(root):
    return sorted(os.path.relpath(os.path.join(folder, name), root)
                  for folder, folders, files in os.walk(root) for name in folders + files)


def _content(path, st):
    if stat.S_ISLNK(st.st_mode):
        return os.readlink(path)
    if path.name.endswith('.un~'):
        return st.st_size  # vim's undo file says when it was written
    return path.read_bytes() if stat.S_ISREG(st.st_mode) else None


class Watch:
    """Every name that shows on a node while it lasts, however short."""

    def __init__(self, node):
        self.node, self.seen = node, set()

    def __enter__(self):
        self.going = True
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.going = False
        self.thread.join()

    def _run(self):
        while self.going:
            self.seen.update(_walk(self.node.mnt))
            wait.pause(0.002)
