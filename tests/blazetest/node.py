"""One device: one BLAZE_HOME, one database, one mount of the real program."""
import hashlib
import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

from blazetest import report
from blazetest.wait import SCALE, eventually, now, read_line

BUILD = Path(os.environ.get('BLAZE_BUILD', Path(__file__).parents[2] / 'build' / 'dev'))
BIN = os.environ.get('BLAZE_BIN', str(BUILD / 'blaze'))
COMMAND_SECONDS = 30
STOP_SECONDS = 10


class Node:
    """`with` is not needed: the fixtures that hand nodes out also end them."""

    def __init__(self, directory, name='a', database='work', netns=None):
        self.directory = Path(directory) / name
        self.directory.mkdir(parents=True)
        self.name, self.database = name, database
        self.home = self.directory / 'home'
        self.mnt = self.directory / 'mnt'
        self.mnt.mkdir()
        self.listen = ''          # what the running daemon is bound to
        self.process = None
        self.allowed = []         # regular expressions of whole lines that may look suspicious
        self.env = dict(os.environ, BLAZE_HOME=str(self.home), HOME=str(self.directory),
                        LC_ALL='C.UTF-8', BLAZE_LOG='info', BLAZE_LOCAL='0', BLAZE_DNSSD='0',
                        **report.sanitizer_environment(self.directory))
        self.env.pop('XDG_DATA_HOME', None)
        self.preload = []         # fault libraries of tests/faults, for the program under test only
        self._enter = ['nsenter', f'--net=/proc/{netns}/ns/net', '--'] if netns else []
        self._log = self.directory / 'daemon.log'
        self._log.touch()
        self._judged = 0          # bytes of the log that were looked at
        self._commands = open(self.directory / 'commands.log', 'a', encoding='utf-8')

    def beside(self, database):
        """Another database of the same device, with a mount of its own."""
        other = Node(self.directory, database, database)
        other.name, other.home, other.preload = f'{self.name}-{database}', self.home, list(self.preload)
        other.env |= {name: value for name, value in self.env.items()
                      if name.startswith(('BLAZE_', 'REDIRECT_', 'XDG_'))}
        return other

    # ---- commands --------------------------------------------------------------------------------

    def run(self, *args, code=0, stdin=None, cwd=None, env=None):
        """Runs `blaze ARGS`; `code` is the exit code to demand, None for any."""
        argv = self._enter + [BIN, *map(str, args)]
        start = now()
        done = subprocess.run(argv, env=self._program_env(env), cwd=cwd or self.directory, input=stdin,
                              stdin=None if stdin is not None else subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=COMMAND_SECONDS * SCALE)
        self._note(f'$ {shlex.join(["blaze", *map(str, args)])}  [{done.returncode}, '
                   f'{now() - start:.3f} s]\n{done.stdout}{done.stderr}')
        assert code is None or done.returncode == code, \
            f'blaze {shlex.join(map(str, args))}: exit {done.returncode}, not {code}\n' \
            f'{done.stdout}{done.stderr}'
        return done

    def json(self, *args, code=0):
        return json.loads(self.run(*args, '--json', code=code).stdout)

    def start(self, *args):
        """A command in the background, as Popen with pipes."""
        self._note(f'$ {shlex.join(["blaze", *map(str, args)])} &\n')
        return subprocess.Popen(self._enter + [BIN, *map(str, args)], env=self._program_env(),
                                cwd=self.directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def init(self):
        self.run('init', '--name', f'device-{self.name}', self.database)
        return self

    def status(self):
        return self.json('status', self.database, code=None)

    def log(self, path):
        """The history of a path, oldest first, as a list of dicts."""
        lines = self.run('log', '--json', self.path(path)).stdout.splitlines()
        return [json.loads(line) for line in reversed(lines)]

    def wait(self, timeout='20s', code=0):
        return self.run('wait', '--timeout', timeout, self.database, code=code)

    # ---- the mount -------------------------------------------------------------------------------

    def mount(self, listen=None, options=None, env=None, under=()):
        """Starts the daemon in the foreground, through the command `under`, and returns when the mount answers."""
        assert self.process is None, f'{self.name} is mounted'
        ready, theirs = os.pipe()
        argv = [*self._enter, *under, BIN, 'mount', self.database, str(self.mnt), '-f', '--ready-fd', str(theirs)]
        argv += ['--listen', listen] if listen else []
        argv += ['-o', options] if options else []
        with open(self._log, 'ab') as log:
            self._note(f'$ {shlex.join(argv)} &\n')
            self.process = subprocess.Popen(argv, env=self._program_env(env), stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, cwd=self.directory,
                                            pass_fds=[theirs], start_new_session=True)
        os.close(theirs)
        try:
            self.ready = json.loads(read_line(ready, 10, f'blaze mount of {self.name}'))
        except AssertionError as e:
            raise AssertionError(f'{e}\n{report.tail(self._log)}') from None
        finally:
            os.close(ready)
        self.listen = self.ready['listen']
        return self

    def stop(self):
        """SIGTERM: has to exit 0, leave no mount behind, and have said nothing suspicious."""
        if self.process is None:
            return self
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        self._ended(process, 'SIGTERM')
        assert not os.path.ismount(self.mnt), f'{self.name}: still mounted after its daemon ended'
        self.judge()
        return self

    def umount(self, *args, code=0):
        """`blaze umount`, as a person does it."""
        process, self.process = self.process, None
        done = self.run('umount', self.mnt, *args, code=code)
        self._ended(process, 'umount')
        self.judge()
        return done

    def kill9(self, writers=()):
        """SIGKILL, then takes the dead mount away, once the threads that write to it have noticed."""
        process, self.process = self.process, None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS * SCALE)
        for writer in writers:
            writer.join(10)
        self.detach()
        return self

    def detach(self):
        """Takes a mount away, dead or alive."""
        while is_mounted(self.mnt):
            tool = ['umount', '-l'] if os.geteuid() == 0 else ['fusermount3', '-uz']
            subprocess.run([*tool, str(self.mnt)], check=True, capture_output=True)

    def remount(self, **kw):
        self.stop()
        return self.mount(**kw)

    def allow(self, *lines):
        """Lines (regular expressions for the whole line, without its time) that this test expects."""
        self.allowed += lines
        return self

    def judge(self):
        """Fails on sanitizer reports and on suspicious lines the daemon wrote since the last time."""
        with open(self._log, 'rb') as f:
            f.seek(self._judged)
            text = f.read().decode(errors='replace')
        self._judged += len(text.encode())
        bad = report.suspicious(text.replace(str(self.directory), '~'), self.allowed)
        assert not bad, f'{self.name} said:\n' + '\n'.join(bad)
        found = report.sanitizer_reports(self.directory)
        assert not found, f'{self.name}:\n' + '\n'.join(report.tail(p) for p in found)

    def close(self):
        """The end, whatever happened before: nothing is left running or mounted."""
        try:
            self.stop()
        finally:
            if self.process is not None:
                self.kill9()
            self.detach()
            self._commands.close()

    def discard(self):
        """The end after a failure or an interrupt: no judgement."""
        if self.process is not None:
            self.kill9()
        self.detach()

    # ---- files -----------------------------------------------------------------------------------

    def path(self, path=''):
        return self.mnt / path

    def read(self, path):
        return self.path(path).read_bytes()

    def text(self, path):
        return self.read(path).decode()

    def write(self, path, data):
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data if isinstance(data, bytes) else data.encode())
        return target

    def exists(self, path):
        return os.path.lexists(self.path(path))

    def names(self, path=''):
        return sorted(os.listdir(self.path(path)))

    def sh(self, script, cwd='', **env):
        """A shell script with the mount as its directory."""
        done = subprocess.run(['bash', '-euo', 'pipefail', '-c', script], cwd=self.path(cwd),
                              env=dict(self.env, **env), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=COMMAND_SECONDS * SCALE)
        self._note(f'$ {script}  [{done.returncode}]\n{done.stdout}{done.stderr}')
        assert done.returncode == 0, f'{script}: exit {done.returncode}\n{done.stdout}{done.stderr}'
        return done.stdout

    def xattr(self, path, name):
        return os.getxattr(self.path(path), name, follow_symlinks=False).decode()

    def tree(self, path=''):
        """{relative path: kind, executable and digest}: what has to be equal on two devices."""
        found, root = {}, self.path(path)
        for folder, folders, files in os.walk(root):
            for name in folders + files:
                full = os.path.join(folder, name)
                found[os.path.relpath(full, root)] = _describe(full)
        return found

    def tree_hash(self, path=''):
        return hashlib.sha256(json.dumps(self.tree(path), sort_keys=True).encode()).hexdigest()

    # ---- inside ----------------------------------------------------------------------------------

    def _program_env(self, extra=None):
        libraries = [str(BUILD / 'tests' / 'faults' / f'{name}.so') for name in self.preload]
        preload = {'LD_PRELOAD': ' '.join(libraries)} if libraries else {}
        return {**self.env, **preload, **(extra or {})}

    def _note(self, text):
        if not self._commands.closed:
            self._commands.write(text if text.endswith('\n') else text + '\n')
            self._commands.flush()

    def _ended(self, process, why):
        try:
            eventually(lambda: process.poll() is not None, STOP_SECONDS, f'{self.name} ends after {why}')
        except AssertionError:
            self.process = process
            self.kill9()
            raise
        assert process.returncode == 0, \
            f'{self.name}: exit {process.returncode} after {why}\n{report.tail(self._log)}'


def is_mounted(path):
    """Also true for a mount whose daemon is dead."""
    with open('/proc/self/mountinfo', encoding='utf-8') as f:
        return any(line.split()[4].replace('\\040', ' ') == str(path) for line in f)


def _describe(path):
    if os.path.islink(path):
        return 'link ' + os.readlink(path)
    if os.path.isdir(path):
        return 'directory'
    with open(path, 'rb') as f:
        data = f.read()
    executable = 'x' if os.stat(path).st_mode & 0o100 else '-'
    return f'{executable} {len(data)} {hashlib.sha256(data).hexdigest()}'
