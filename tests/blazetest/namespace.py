"""Two network namespaces joined by a virtual cable (root only)."""
import subprocess

from blazetest.wait import SCALE


class Namespaces:
    """`pids` name them for nsenter; addresses are 10.99.0.1 and 10.99.0.2, nothing else is reachable."""

    ADDRESSES = ('10.99.0.1', '10.99.0.2')

    def __enter__(self):
        self.holders = [subprocess.Popen(['unshare', '--net', 'cat'], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE) for _ in range(2)]
        for holder in self.holders:  # cat answers once it runs in its namespace
            holder.stdin.write(b'\n')
            holder.stdin.flush()
            holder.stdout.read(1)
        self.pids = [holder.pid for holder in self.holders]
        _run('ip', 'link', 'add', 'cable0', 'netns', self.pids[0], 'type', 'veth',
             'peer', 'name', 'cable0', 'netns', self.pids[1])
        for pid, address in zip(self.pids, self.ADDRESSES):
            inside(pid, 'ip', 'address', 'add', f'{address}/24', 'dev', 'cable0')
            inside(pid, 'ip', 'link', 'set', 'lo', 'up')
            inside(pid, 'ip', 'link', 'set', 'cable0', 'up')
        return self

    def __exit__(self, *exc):
        for holder in self.holders:
            holder.stdin.close()
            holder.wait()
            holder.stdout.close()

    def cable(self, up):
        for pid in self.pids:
            inside(pid, 'ip', 'link', 'set', 'cable0', 'up' if up else 'down')


def inside(pid, *argv):
    _run('nsenter', f'--net=/proc/{pid}/ns/net', '--', *argv)


def _run(*argv):
    subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True)


class Cables:
    """Namespaces with cables between them (root only); cable N, from 1, has the addresses 10.99.N.1 and 10.99.N.2."""

    def __init__(self, count, cables):
        self.count, self.cables = count, cables  # pairs of namespaces, from 0

    def __enter__(self):
        self.holders = [subprocess.Popen(['unshare', '--net', 'cat'], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE) for _ in range(self.count)]
        for holder in self.holders:
            holder.stdin.write(b'\n')
            holder.stdin.flush()
            holder.stdout.read(1)
        self.pids = [holder.pid for holder in self.holders]
        for pid in self.pids:
            inside(pid, 'ip', 'link', 'set', 'lo', 'up')
        for n, (one, other) in enumerate(self.cables, 1):
            _run('ip', 'link', 'add', f'cable{n}', 'netns', self.pids[one], 'type', 'veth',
                 'peer', 'name', f'cable{n}', 'netns', self.pids[other])
            for host, end in ((1, one), (2, other)):
                inside(self.pids[end], 'ip', 'address', 'add', f'10.99.{n}.{host}/24', 'dev', f'cable{n}')
            self.cable(n, up=True)
        return self

    __exit__ = Namespaces.__exit__

    def cable(self, n, up):
        for end in self.cables[n - 1]:
            inside(self.pids[end], 'ip', 'link', 'set', f'cable{n}', 'up' if up else 'down')


class Mounts:
    """A mount namespace (root only): what is mounted in it, nobody else sees, and it ends with it."""

    def __enter__(self):
        self.holder = subprocess.Popen(['unshare', '--mount', '--propagation', 'private', 'cat'],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.holder.stdin.write(b'\n')
        self.holder.stdin.flush()
        self.holder.stdout.read(1)
        return self

    def __exit__(self, *exc):
        self.holder.stdin.close()
        self.holder.wait()
        self.holder.stdout.close()

    def sh(self, script, env=None, user=None):
        """A shell script in it, as this user id; done, with both outputs."""
        become = ['setpriv', f'--reuid={user}', f'--regid={user}', '--clear-groups'] if user else []
        return subprocess.run(['nsenter', f'--mount=/proc/{self.holder.pid}/ns/mnt', '--', *become,
                               'bash', '-c', script], env=env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60 * SCALE, check=False)
