"""Folder relays: what a device says of its own, and a cloud that carries files between the devices' copies of a directory."""
import os
import shutil

from blazetest.wait import eventually


def folders_of(node):
    return node.json('relay', 'list', node.database)['folders']


def is_written(node):
    """Whether every folder has all that is here, and the other way round."""
    folders = folders_of(node)
    return folders and all(f['state'] == 'written' for f in folders)


def wait_written(*nodes, deadline=20):
    for node in nodes:
        eventually(lambda n=node: is_written(n), deadline, f'{node.name} and its folders have the same')


def use(node, path):
    os.makedirs(path, exist_ok=True)
    node.run('relay', 'add', f'folder:{path}', node.database)
    return path


def segments(path, acks=False):
    """Files of a folder, by name; without acks, unless asked for."""
    found = (p for p in path.rglob('*.blz') if acks or not p.name.startswith('ack-'))
    return sorted(found, key=lambda p: p.name)


def is_carried(path):
    """Not what a test made of its own: links, pipes, and files that only look large."""
    return path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 28


class Cloud:
    """Copies of one directory, each a device's own. Nothing moves by itself."""

    def __init__(self, directory, names='ab'):
        self.copies = {name: directory / f'cloud-{name}' for name in names}
        for path in self.copies.values():
            path.mkdir()

    def carry(self, source, target, transform=None):
        """Files of one copy that the other lacks appear there. transform(name, bytes) may give other bytes, or None."""
        for path in sorted(self.copies[source].rglob('*')):
            relative = path.relative_to(self.copies[source])
            there = self.copies[target] / relative
            if path.is_dir():
                there.mkdir(parents=True, exist_ok=True)
            elif not there.exists() and not path.name.startswith('.') and is_carried(path):
                self.deliver(path, there, transform)

    @staticmethod
    def deliver(path, there, transform=None):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return
        if transform:
            data = transform(path.name, data)
        if data is None:
            return
        there.parent.mkdir(parents=True, exist_ok=True)
        beside = there.parent / f'.~{there.name}.part'
        beside.write_bytes(data)
        os.rename(beside, there)

    def carry_all(self):
        for source in self.copies:
            for target in self.copies:
                if source != target:
                    self.carry(source, target)

    def close(self):
        for path in self.copies.values():
            shutil.rmtree(path, ignore_errors=True)
