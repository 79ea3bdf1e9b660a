"""Who reads a record while it changes elsewhere sees one version of it, whole."""
import subprocess
import sys

from blazetest.wait import eventually

READER = r'''
import os, re, sys
path, seen = sys.argv[1], 0
whole = re.compile(rb'(\d{8})(\1)*')
while not os.path.exists(sys.argv[2]):
    with open(path, 'rb') as f:
        data = f.read()
    if not whole.fullmatch(data):
        sys.exit(f'torn: {len(data)} bytes, {sorted(set(re.findall(rb".{8}", data)))[:4]}, end {data[-9:]}')
    seen += 1
print(seen)
'''


def test_reader_never_sees_two_versions_in_one(pair, directory):
    a, b = pair.nodes
    end = directory / 'end'
    a.write('c/r.txt', f'{0:08d}' * 9000)
    pair.synced()
    readers = [subprocess.Popen([sys.executable, '-c', READER, str(b.path('c/r.txt')), str(end)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for k in range(1, 400):
        a.write('c/r.txt', f'{k:08d}' * (9000 + k % 7 * 1000 - k % 5 * 1500))
    a.wait()
    eventually(lambda: b.text('c/r.txt') == a.text('c/r.txt'))
    end.touch()
    for reader in readers:
        out, err = reader.communicate(timeout=60)
        assert reader.returncode == 0, err
        assert int(out) > 100
