"""A blaze-relay of the test's own."""
import json
import os
import signal
import subprocess
from pathlib import Path

from blazetest import report
from blazetest.node import BUILD
from blazetest.wait import SCALE, eventually, read_line

BIN = os.environ.get('BLAZE_RELAY_BIN', str(BUILD / 'blaze-relay'))


class Relay:
    """Set up once, started as often as wanted, always at the same address."""

    def __init__(self, directory, name='relay', program=BIN, setup=(), netns=None,
                 listen='127.0.0.1:0'):
        self.scheme = 'wss' if setup else 'ws'
        self.program = str(program)
        self.directory = Path(directory) / name
        self.directory.mkdir(parents=True)
        self.home = self.directory / 'home'
        self.env = dict(os.environ, LC_ALL='C.UTF-8', BLAZE_LOG='info',
                        **report.sanitizer_environment(self.directory))
        self.log = self.directory / 'relay.log'
        self.log.touch()
        self.process = None
        self.listen = listen
        self._enter = ['nsenter', f'--net=/proc/{netns}/ns/net', '--'] if netns else []
        self.key = ''
        self.run('setup', '--listen', self.listen, *setup)

    def run(self, *args, code=0):
        done = subprocess.run([self.program, *map(str, args), '--home', str(self.home)], env=self.env,
                              capture_output=True, text=True, timeout=30 * SCALE)
        assert done.returncode == code, f'blaze-relay {args}: {done.returncode}\n{done.stdout}{done.stderr}'
        return done

    @property
    def address(self):
        return self.run('address', '--address', self.listen).stdout.strip()

    @property
    def shown(self):
        return f'{self.scheme}://{self.listen}'

    def start(self, *args, preload=None):
        assert self.process is None
        ready, theirs = os.pipe()
        env = dict(self.env)
        if preload:
            env['LD_PRELOAD'] = preload
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(
                [*self._enter, self.program, 'run', '--home', str(self.home), '--listen', self.listen, '--ready-fd', str(theirs), *args],
                env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, pass_fds=[theirs],
                start_new_session=True)
        os.close(theirs)
        try:
            line = json.loads(read_line(ready, 10, 'blaze-relay run'))
        except AssertionError as e:
            raise AssertionError(f'{e}\n{report.tail(self.log)}') from None
        finally:
            os.close(ready)
        self.listen = line['listen']
        return self

    def stop(self):
        process, self.process = self.process, None
        if process is None:
            return self
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(10 * SCALE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f'the relay does not end\n{report.tail(self.log)}') from None
        assert code == 0, f'the relay ended with {code}\n{report.tail(self.log)}'
        found = report.sanitizer_reports(self.directory)
        assert not found, '\n'.join(report.tail(p) for p in found)
        return self

    def kill9(self):
        process, self.process = self.process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return self

    def stored(self):
        """All bytes it has on its disk, and what it logged."""
        return b''.join(p.read_bytes() for p in sorted(self.directory.rglob('*')) if p.is_file())


def relays_of(node):
    return node.json('relay', 'list', node.database)['relays']


def is_idle(node, count=1):
    """Whether every relay has all that is here, and the other way round."""
    relays = relays_of(node)
    return len(relays) == count and all(r['state'] == 'synced' for r in relays)


def wait_idle(*nodes, deadline=20, count=1):
    for node in nodes:
        eventually(lambda n=node: is_idle(n, count), deadline, f'{node.name} and its relays have the same')
