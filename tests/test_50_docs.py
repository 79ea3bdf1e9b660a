"""--help, the manual and the README speak of the same options and commands."""
import re
import subprocess
from pathlib import Path

import pytest

from blazetest.node import BIN
from blazetest.relay import BIN as RELAY

ROOT = Path(__file__).parents[1]
COMMANDS = ['init', 'mount', 'umount', 'pair', 'status', 'wait', 'watch', 'ping', 'topology', 'log', 'diff', 'restore', 'undo', 'conflicts', 'deletes', 'devices', 'recover', 'compact', 'relay', 'version']


def help_of(*command):
    return subprocess.run([BIN, *command, '--help'], capture_output=True, text=True, check=True,
                          timeout=30).stdout


def long_options(text):
    return set(re.findall(r'(?<![\w-])--([a-z][a-z-]+)', text)) - {'help', 'version'}


def manual(page='mount.blaze.8'):
    """The manual as a reader sees it."""
    done = subprocess.run(['mandoc', '-T', 'utf8', ROOT / page], capture_output=True, text=True,
                          check=True)
    return re.sub(r'.\x08', '', done.stdout).replace('‐', '-').replace('−', '-')


@pytest.mark.parametrize('command', COMMANDS)
def test_every_option_is_in_the_manual(command):
    missing = long_options(help_of(command)) - long_options(manual())
    assert not missing, f'{command}: not in mount.blaze.8: {missing}'


def test_every_option_of_the_manual_exists():
    known = set().union(*(long_options(help_of(c)) for c in COMMANDS))
    foreign = {'user', 'now', 'prefix'}  # of systemctl and cmake, in examples
    assert long_options(manual()) - known <= foreign


def test_every_option_of_the_readme_exists():
    known = set().union(*(long_options(help_of(c)) for c in COMMANDS))
    lines = [line for line in (ROOT / 'README.md').read_text(encoding='utf-8').splitlines()
             if re.search(r'\bblaze [a-z]+ ', line) and 'cmake' not in line]
    assert long_options('\n'.join(lines)) <= known


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_is_in_readme_and_manual(command):
    for text in ((ROOT / 'README.md').read_text(encoding='utf-8'), manual()):
        assert re.search(rf'\bblaze {command}\b', text)


def test_every_command_of_readme_and_manual_exists():
    for text in ((ROOT / 'README.md').read_text(encoding='utf-8'), manual()):
        named = set(re.findall(r'(?m)(?:^|[$`])\s*(?:sudo )?blaze ([a-z]+)\b', text))
        assert named <= set(COMMANDS) | {'help'}, named - set(COMMANDS)


@pytest.mark.parametrize('code', [0, 1, 2, 3, 4, 10, 11, 12, 13, 32])
def test_every_exit_code_is_in_the_manual(code):
    assert re.search(rf'(?m)^\s+{code}\s+\w', manual())


def test_options_of_the_relay_are_those_of_its_manual():
    said = subprocess.run([RELAY, '--help'], capture_output=True, text=True, check=True, timeout=30).stdout
    foreign = {'system', 'home-dir', 'now'}  # of useradd and systemctl, in examples
    assert long_options(manual('blaze-relay.8')) - foreign == long_options(said)
    for command in ('setup', 'address', 'run'):
        assert re.search(rf'(?m)^     blaze-relay {command}\b', manual('blaze-relay.8'))
        assert f'blaze-relay {command} ' in said


@pytest.mark.parametrize('page', ['mount.blaze.8', 'blaze-relay.8'])
def test_manual_is_well_formed(page):
    done = subprocess.run(['mandoc', '-T', 'lint', '-W', 'warning', ROOT / page],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize('name', ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md'])
def test_files_named_in_the_documents_exist(name):
    text = (ROOT / name).read_text(encoding='utf-8')
    paths = re.findall(r'`((?:core|net|fs|cli|tests|scripts)/[\w./-]+)`', text)
    missing = [p for p in paths if not (ROOT / p).exists()]
    assert not missing, missing
