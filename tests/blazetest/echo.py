"""The helper process that makes the system calls of remote changes."""
import os
import signal


def helper_of(node):
    """The process id of the echo helper."""
    with open(f'/proc/{node.process.pid}/task/{node.process.pid}/children', encoding='ascii') as f:
        return int(f.read().split()[0])


class Paused:
    """The echo helper performs nothing while it lasts."""

    def __init__(self, node):
        self.pid = helper_of(node)

    def __enter__(self):
        os.kill(self.pid, signal.SIGSTOP)

    def __exit__(self, *exc):
        os.kill(self.pid, signal.SIGCONT)
