"""Random changes of a tree, by one process or by several at the same time."""
import contextlib
import errno
import os
import random
import shutil
import sys

from blazetest.syscalls import EXCHANGE, renameat2

# What a tree that others change explains.
USUAL = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EINVAL, errno.ESTALE}


def write(path, r, large):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='ascii') as f:
        if r.random() < 0.5:
            f.write(f'{{"{r.choice("abc")}": {r.random()}}}')
        else:
            f.write('x' * r.randrange(60000) if large else str(r.random()))


def swap(path, r, large):
    """A new version of a directory takes its place, as programs do that install themselves."""
    if not os.path.isdir(path) or os.path.islink(path):
        return
    if os.path.isdir(path + '.old'):
        shutil.rmtree(path + '.old')
    shutil.copytree(path, path + '.new', symlinks=True, dirs_exist_ok=True)
    write(os.path.join(path + '.new', r.choice(os.listdir(path) or ['a'])), r, large)
    os.rename(path, path + '.old')
    os.rename(path + '.new', path)
    if r.random() < 0.7:
        shutil.rmtree(path + '.old')


def change(root, r, names, kinds, large=False):
    """One change, its kind a letter of `kinds`, somewhere at most three levels deep. Raises OSError as it comes."""
    one, other = (os.path.join(root, *(r.choice(names) for _ in range(r.randint(1, 3)))) for _ in range(2))
    match r.choice(kinds):
        case 'w':
            write(one, r, large)
        case 'm':
            os.rename(one, other)
        case 'u':
            os.unlink(one)
        case 'd':
            os.makedirs(one, exist_ok=True)
        case 'r':
            shutil.rmtree(one)
        case 'l':
            os.symlink(r.choice(names), one)
        case 'h':
            os.link(one, other, follow_symlinks=False)
        case 'x':
            renameat2(one, other, EXCHANGE)
        case 's':
            swap(one, r, large)
        case 'c':
            os.chmod(one, r.choice([0o644, 0o755]))


def look(root):
    """Reads everything there is."""
    for path, _, files in os.walk(root):
        for name in files:
            with contextlib.suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
                with open(os.path.join(path, name), 'rb') as f:
                    f.read()
                os.stat(os.path.join(path, name))


def main(root, end, seed):
    """Until the file `end` is there; prints how often it went round."""
    r, rounds = random.Random(seed), 0
    while not os.path.exists(end):
        rounds += 1
        try:
            if seed.startswith('change'):
                change(root, r, ['a', 'b', 'c.json', 'd.txt', 'e'], 'wwwwwmmud', large=True)
            else:
                look(root)
        except OSError as e:
            if e.errno not in USUAL:
                raise
    print(rounds)


if __name__ == '__main__':
    main(*sys.argv[1:])
