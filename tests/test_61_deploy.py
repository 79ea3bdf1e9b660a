"""The relay's unit, its commands, and scripts/deploy: dry first, repeatable, and stopping where something fails."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from blazetest.relay import Relay

TREE = Path(__file__).parent.parent
DEPLOY = TREE / 'scripts' / 'deploy'


def deploy(*args, path='', code=0):
    env = dict(os.environ, PATH=f'{path}:{os.environ["PATH"]}')
    done = subprocess.run([DEPLOY, *args], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, f'{done.stdout}{done.stderr}'
    return done


@pytest.fixture
def ssh(directory):
    """A stand-in that notes what it is asked, checks that it is a script, and answers with ssh.code of the step."""
    bin = directory / 'bin'
    bin.mkdir()
    log = directory / 'asked'
    (bin / 'ssh').write_text(
        '#!/bin/bash\n'
        'cat >/dev/null\n'
        f'printf "%s\\n" "$3" >>{log}\n'
        'sh -n -c "$3" || exit 99\n'
        f'case $(wc -l <{log}) in "$FAIL_AT") exit 1 ;; esac\n')
    (bin / 'ssh').chmod(0o755)
    return bin, log


def test_dry_run_does_nothing(ssh):
    bin, log = ssh
    said = deploy('--address', 'relay.example:7710', 'pi@raspberry', path=bin).stdout
    assert 'Nothing was done' in said and not log.exists()
    for word in ('apt-get', 'adduser', 'blaze-relay setup', 'systemctl enable --now', 'relay.example:7710'):
        assert word in said


def test_all_steps_reach_the_host(ssh):
    bin, log = ssh
    deploy('--yes', 'pi@raspberry', path=bin)
    steps = log.read_text().splitlines()
    assert len(steps) == 9 and all(s.startswith('if [ "$(id -u)" = 0 ]') for s in steps)
    assert 'raspberry:7710' in steps[5]


@pytest.mark.parametrize('args, has, not_', [
    ([], 'echo --self-signed', '--tls-cert'),
    (['--self-signed'], '--self-signed', 'echo --self-signed'),
    (['--plain'], 'setup', 'self-signed'),
    (['--tls-cert', '/etc/ssl/c.pem', '--tls-key', '/etc/ssl/k.pem'], '/etc/ssl/c.pem /var/lib/blaze-relay/tls/cert.new', 'renewal-hooks'),
    (['--tls-cert', '/etc/letsencrypt/live/h/fullchain.pem', '--tls-key', '/etc/letsencrypt/live/h/privkey.pem'],
     'renewal-hooks/deploy/blaze-relay', '--self-signed'),
])
def test_certificate(ssh, args, has, not_):
    bin, log = ssh
    deploy('--yes', *args, 'pi', path=bin)
    asked = log.read_text().replace('\\', '')
    assert has in asked and not_ not in asked


@pytest.mark.parametrize('args', [['--tls-cert', '/c'], ['--tls-cert', 'c', '--tls-key', '/k'], ['--tls-cert', '/c;reboot', '--tls-key', '/k']])
def test_certificate_that_cannot_be(args):
    deploy(*args, 'pi', code=1)


@pytest.mark.root
def test_certificate_is_copied_for_the_relay_alone(ssh, directory):
    """The very script that a host gets, with its directory moved here."""
    bin, _ = ssh
    for name, said in (('cert', 'c'), ('key', 'k')):
        (directory / f'{name}.pem').write_text(said)
    shown = deploy('--tls-cert', directory / 'cert.pem', '--tls-key', directory / 'key.pem', 'pi', path=bin).stdout
    script = re.search(r'copy the certificate for the relay\n(.*?)\n\n', shown, re.S)[1]
    script = script.replace('/var/lib/blaze-relay', str(directory / 'home')).replace('-o blaze-relay -g blaze-relay', '-o nobody')
    for _ in range(2):
        subprocess.run(['sh', '-euc', script.replace('systemctl', 'false')], check=True)
        found = {p.name: (p.read_text(), p.stat().st_mode & 0o777, p.owner()) for p in (directory / 'home' / 'tls').iterdir()}
        assert found == {'cert.pem': ('c', 0o600, 'nobody'), 'key.pem': ('k', 0o600, 'nobody')}


def test_a_failing_step_ends_it(ssh, monkeypatch):
    bin, log = ssh
    monkeypatch.setenv('FAIL_AT', '2')
    said = deploy('--yes', 'pi@raspberry', path=bin, code=1).stderr
    assert 'step 2 failed on pi@raspberry' in said and len(log.read_text().splitlines()) == 2


@pytest.mark.parametrize('args', [[], ['a', 'b'], ['--what', 'a']])
def test_wrong_usage(args):
    deploy(*args, code=2)


@pytest.mark.parametrize('args', [['--port', '70000', 'a'], ['a;reboot'], ['--address', '$(reboot):1', 'a'], ['--', 'a']])
def test_nothing_of_the_arguments_is_run(args):
    assert deploy(*args, code=2 if args[0] == '--' else 1).stderr


@pytest.mark.skipif(not shutil.which('systemd-analyze'), reason='needs systemd-analyze')
def test_the_unit_is_hardened(directory):
    unit = directory / 'blaze-relay.service'
    unit.write_text((TREE / 'blaze-relay.service.in').read_text().replace('@bindir@', '/usr/bin'))
    done = subprocess.run(['systemd-analyze', 'security', '--offline=true', '--threshold=35', unit],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-300:]


def test_setup_keeps_what_is_there(directory):
    r = Relay(directory)
    before = r.address
    r.run('setup', '--listen', r.listen)
    assert r.address == before and (r.home / 'token').stat().st_mode & 0o777 == 0o600
    (r.home / 'relay.conf').write_text('listen 127.0.0.1:0\nrate many\n')
    assert 'rate: "many" is not a number above 0' in r.run('address', code=2).stderr


def test_not_set_up(directory):
    r = Relay(directory)
    shutil.rmtree(r.home)
    assert 'blaze-relay setup' in r.run('run', code=1).stderr
