"""Several devices that share one database, joined through proxies that can cut, hold and record."""
import re
import subprocess

from blazetest import report
from blazetest.node import Node
from blazetest.proxy import Proxy
from blazetest.wait import SCALE, eventually, read_line

CODE = re.compile(r'pair (\d+-[a-z]+-[a-z]+(?:@\S+)?)\s')
LINK = re.compile(r'blaze:pair#[^\s"\']+(?=[\s"\'])')


class Cluster:
    """The first node listens; each other one has paired with it through a proxy of its own."""

    def __init__(self, directory, count=2, names='abcdefgh'):
        self.nodes, self.proxies = [], {}
        try:
            hub = self._add(Node(directory, names[0]).init()).mount(listen='127.0.0.1:0')
            for name in names[1:count]:
                self.join(self._add(Node(directory, name)))
            self.synced(*self.nodes)
        except BaseException:
            self.discard()
            raise
        self.hub = hub

    def _add(self, node):
        self.nodes.append(node)
        return node

    def join(self, node, delay=0.0):
        """Pairs a node with the hub through a new proxy, which passes 64 KiB on in `delay` seconds, and mounts it."""
        hub = self.nodes[0]
        self.proxies[node.name] = Proxy(hub.listen)
        self.proxies[node.name].delay = delay
        node.preload.append('redirect')
        node.env['REDIRECT_RULE'] = str(node.directory / 'redirect')
        self.retarget()
        with Invitation(hub) as invitation:
            node.run('pair', '--name', f'device-{node.name}', invitation.link)
            invitation.accepted()
        return node.mount()

    def proxy(self, node=None):
        return self.proxies[(node or self.nodes[1]).name]

    def cut(self, *nodes):
        """Disconnects the nodes (default: all) from the hub, and waits until both sides know."""
        for node in nodes or self.nodes[1:]:
            self.proxy(node).cut()
            eventually(lambda n=node: not is_connected(n), 10, f'{node.name} notices the cut')

    def restore(self, *nodes):
        for node in nodes or self.nodes[1:]:
            self.proxy(node).restore()

    def edit_apart(self, path, base, *edits):
        """A shared record is edited on each node while it cannot see the others: a new content, or a call with the node."""
        self.nodes[0].write(path, base)
        self.synced()
        self.cut()
        for node, edit in zip(self.nodes, edits):
            if callable(edit):
                edit(node)
            else:
                node.write(path, edit)
        self.restore()
        self.synced()
        return self.nodes

    def remount_hub(self, **env):
        """Restarts the node that listens; it may get another port, the proxies follow."""
        self.nodes[0].remount(listen='127.0.0.1:0', **env)
        self.retarget()

    def retarget(self):
        """Whatever address of the hub a node dials, it gets its proxy, and the proxy the hub."""
        for name, proxy in self.proxies.items():
            proxy.target = self.nodes[0].listen
            node = next(n for n in self.nodes if n.name == name)
            ports = [address.rsplit(':', 1)[1] for address in (proxy.target, proxy.address)]
            with open(node.env['REDIRECT_RULE'], 'a', encoding='utf-8') as f:
                f.write(' '.join(ports) + '\n')

    def synced(self, *nodes, deadline=20):
        """Every change is on every node, and they show the same bytes."""
        nodes = nodes or self.nodes
        for node in nodes:
            node.wait(f'{deadline * SCALE}s')
        first = nodes[0]
        for other in nodes[1:]:
            eventually(lambda o=other: first.tree() == o.tree(), deadline,
                       f'{first.name} and {other.name} show the same tree')
        return self

    def close(self):
        errors = []
        for node in reversed(self.nodes):
            try:
                node.close()
            except AssertionError as e:
                errors.append(str(e))
        self._close_proxies()
        assert not errors, '\n'.join(errors)

    def discard(self):
        for node in self.nodes:
            node.discard()
        self._close_proxies()

    def _close_proxies(self):
        for proxy in self.proxies.values():
            proxy.close()


class Invitation:
    """`blaze pair` waiting on a node, with the code and the link it printed."""

    def __init__(self, node, *args):
        self.node, self.args = node, args

    def __enter__(self):
        self.process = self.node.start('pair', *self.args)
        self.output = ''
        while not (found := LINK.search(self.output)):
            self.output += read_line(self.process.stdout.fileno(), 10, '`blaze pair`')
        self.link = found[0]
        self.code = CODE.search(self.output)[1]
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        self.process.stdout.close()

    def printed(self, text):
        """Reads on until it has printed this."""
        while text not in self.output:
            self.output += read_line(self.process.stdout.fileno(), 10, '`blaze pair`')

    def ended(self):
        """Waits for the command's end: its exit code and all it printed."""
        try:
            self.output += self.process.communicate(timeout=10 * SCALE)[0]
        except subprocess.TimeoutExpired:
            raise AssertionError(f'`blaze pair` goes on: {self.output}') from None
        return self.process.returncode

    def accepted(self):
        assert self.ended() == 0, self.output


def is_connected(node):
    """Whether any other device is, as the node sees it."""
    return any(p['state'] in ('syncing', 'synced') for p in node.status()['peers'])
