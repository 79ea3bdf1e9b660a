"""A relay inside TLS: certificates of its own and from files, pinned or not, renewed, damaged; and who comes without."""
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess

import pytest

from blazetest import Node
from blazetest.cluster import Invitation
from blazetest.proxy import Proxy
from blazetest.relay import Relay, is_idle, relays_of, wait_idle
from blazetest.tlsproxy import TlsProxy
from blazetest.wait import SCALE, eventually


def openssl(*args, **kw):
    done = subprocess.run(['openssl', *map(str, args)], capture_output=True, text=True, timeout=60 * SCALE, **kw)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Authority:
    """Signs certificates, as one that people trust does; nobody here has heard of it."""

    def __init__(self, directory):
        self.directory = directory
        self.cert, self.key = directory / 'ca.crt', directory / 'ca.key'
        openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', self.key,
                '-out', self.cert, '-subj', '/CN=authority', '-days', '30')

    def issue(self, name, key=('ec', '-pkeyopt', 'ec_paramgen_curve:P-256'), days=30):
        """(chain, key); days < 0 = it is over."""
        secret, request, chain = (self.directory / f'{name}.{e}' for e in ('key', 'csr', 'pem'))
        openssl('req', '-newkey', *key, '-nodes', '-keyout', secret, '-out', request, '-subj', f'/CN={name}.example')
        secret.chmod(0o600)
        if days > 0:
            text = openssl('x509', '-req', '-in', request, '-CA', self.cert, '-CAkey', self.key, '-CAcreateserial',
                           '-days', days)
        else:
            text = self._expired(request)
        chain.write_text(text + self.cert.read_text())
        return chain, secret

    def _expired(self, request):
        """Only `openssl ca` of this release sets dates in the past."""
        config = self.directory / 'ca.conf'
        config.write_text(f'[ca]\ndefault_ca = d\n[d]\ndatabase = {self.directory}/index\nserial = {self.directory}/serial\n'
                          f'new_certs_dir = {self.directory}\ndefault_md = sha256\npolicy = p\n[p]\ncommonName = supplied\n')
        (self.directory / 'index').write_text('')
        (self.directory / 'serial').write_text('01\n')
        return openssl('ca', '-batch', '-config', config, '-in', request, '-cert', self.cert, '-keyfile', self.key,
                       '-startdate', '190101000000Z', '-enddate', '200101000000Z', '-notext')


@pytest.fixture
def authority(directory):
    return Authority(directory)


@pytest.fixture
def relays(directory):
    """Makes relays inside TLS: relays('--self-signed')."""
    made = []

    def make(*setup, name='relay'):
        made.append(Relay(directory, name, setup=setup))
        return made[-1]

    yield make
    for relay in made:
        try:
            relay.stop()
        finally:
            relay.kill9()


@pytest.fixture
def keep(request):
    """Ends nodes that a test makes itself."""
    nodes = []

    def later(node):
        nodes.append(node)
        return node

    try:
        yield later
        if not getattr(request.node, 'blaze_failed', False):
            for node in nodes:
                node.close()
    finally:
        for node in nodes:
            node.discard()


def add(relay, *nodes):
    for node in nodes:
        node.run('relay', 'add', relay.address, node.database)


def shown_by(relay):
    """The certificate that it shows, PEM."""
    host, port = relay.listen.rsplit(':', 1)
    return ssl.get_server_certificate((host, int(port)), timeout=10 * SCALE)


def pem_of(path):
    return re.search(r'-----BEGIN CERT.*?END CERTIFICATE-----\n', path.read_text(), re.S)[0]


def errors(node):
    return relays_of(node)[0]['error']


# ---- it works ---------------------------------------------------------------------------------------


def test_sync_through_a_relay_with_its_own_certificate(pair, relays):
    relay = relays('--self-signed').start()
    a, b = pair.nodes
    pair.cut()
    assert relay.address.startswith('wss://') and '&p=' in relay.address
    add(relay, a, b)
    wait_idle(a, b)
    content = os.urandom(3 << 20)
    a.write('large.bin', content)
    b.write('notes/todo.txt', 'milk\n')
    eventually(lambda: b.exists('large.bin') and b.read('large.bin') == content, 30)
    eventually(lambda: a.exists('notes/todo.txt') and a.text('notes/todo.txt') == 'milk\n')
    assert relay.shown in a.run('relay', a.database).stdout
    for text in (a.run('relay', a.database).stdout, relay.log.read_text()):
        assert '#k=' not in text and '&p=' not in text
    relay.kill9().start()
    a.write('later.json', '{}')
    eventually(lambda: b.exists('later.json'), 20)


def test_nothing_on_the_wire_says_what_it_is(pair, relays):
    """What a network sees of it is TLS: no path, no subprotocol, no name."""
    relay = relays('--self-signed').start()
    a, _ = pair.nodes
    pair.cut()
    proxy = Proxy(relay.listen)
    try:
        proxy.record()
        a.run('relay', 'add', relay.run('address', '--address', proxy.address).stdout.strip(), a.database)
        wait_idle(a)
        a.write('canary.json', '{"canary": "canary"}')
        wait_idle(a)
        seen = bytes(proxy.up + proxy.down)
    finally:
        proxy.close()
    assert len(seen) > 1000 and proxy.up[:2] == b'\x16\x03'
    for word in (b'laze/1', b'GET ', b'WebSocket', b'canary'):
        assert word not in seen, word


@pytest.mark.parametrize('key', [('ec', '-pkeyopt', 'ec_paramgen_curve:P-384'), ('rsa:2048',), ('ed25519',)],
                         ids=['ec', 'rsa', 'ed25519'])
def test_certificate_from_files(pair, relays, authority, key):
    """Who signed it is not asked: nothing is pinned, so that it can be renewed with another key."""
    chain, secret = authority.issue('relay', key)
    relay = relays('--tls-cert', chain, '--tls-key', secret).start()
    assert relay.address.startswith('wss://') and '&p=' not in relay.address
    add(relay, pair.nodes[0])
    wait_idle(*pair.nodes)
    assert shown_by(relay) == pem_of(chain)


def test_device_behind_a_tls_proxy(authority, directory, keep):
    """Devices speak no TLS themselves; who pairs with wss:// comes back that way."""
    a, b = (keep(Node(directory, name)) for name in 'ab')
    a.init().mount(listen='127.0.0.1:0')
    with TlsProxy(a.listen, *authority.issue('proxy')) as proxy:
        with Invitation(a) as invitation:
            said = b.run('pair', '--name', 'device-b', '--at', f'wss://{proxy.address}', invitation.code).stdout
            invitation.accepted()
        assert f'wss://{proxy.address}' in said
        a.remount(listen=a.listen)
        b.mount()
        a.write('r.json', '{}')
        eventually(lambda: b.exists('r.json'), 20)
        b.stop()


def test_tls_is_no_address_to_listen_on(device):
    said = device.init().run('mount', device.database, device.mnt, '-f', '--listen', 'wss://127.0.0.1:0', code=None)
    assert said.returncode != 0 and 'is not an address to listen on' in said.stderr


# ---- it is refused ----------------------------------------------------------------------------------


def test_another_certificate_than_the_address_pins(pair, relays):
    """Not even our request leaves: the pin is checked before TLS is up."""
    relay = relays('--self-signed').start()
    other = relays('--self-signed', name='other')
    a, _ = pair.nodes
    a.allow(r'blaze warning: relay wss://127\.0\.0\.1:\d+: its certificate is not the one that its address names')
    address = relay.address.split('&p=')[0] + '&p=' + other.address.split('&p=')[1]
    a.run('relay', 'add', address, a.database)
    eventually(lambda: 'certificate is not the one' in errors(a))
    assert not is_idle(a)
    # The right address takes the place of the wrong one: it is the same relay.
    add(relay, a)
    wait_idle(a)
    assert len(relays_of(a)) == 1


def test_plain_address_of_a_relay_inside_tls(pair, relays):
    relay = relays('--self-signed').start()
    a, _ = pair.nodes
    a.run('relay', 'add', relay.address.replace('wss://', 'ws://').split('&p=')[0], a.database)
    eventually(lambda: 'wss://' in errors(a))
    add(relay, a)
    wait_idle(a)


def test_tls_address_of_a_plain_relay(pair, relays):
    relay = relays().start()
    a, _ = pair.nodes
    a.run('relay', 'add', relay.address.replace('ws://', 'wss://'), a.database)
    eventually(lambda: 'ws://' in errors(a))
    add(relay, a)
    wait_idle(a)


@pytest.mark.parametrize('end', ['&p=', '&p=abc', '&p=' + 'A' * 44, '&q=' + 'A' * 43])
def test_damaged_pin(node, end):
    said = node.run('relay', 'add', f'wss://h:1#k={"A" * 86}{end}', node.database, code=2).stderr
    assert 'damaged' in said and said.count('\n') == 1


def test_pin_without_tls(node):
    said = node.run('relay', 'add', f'ws://h:1#k={"A" * 86}&p={"A" * 43}', node.database, code=2).stderr
    assert 'damaged' in said and said.count('\n') == 1


# ---- renewed ----------------------------------------------------------------------------------------


def replace(old, new):
    """As certbot does: other files under the same names."""
    for a, b in zip(old, new):
        os.replace(b, a)


@pytest.mark.parametrize('asked', [True, False], ids=['SIGHUP', 'by itself'])
def test_renewal(pair, relays, authority, asked):
    old, new = authority.issue('relay'), authority.issue('new')
    relay = relays('--tls-cert', old[0], '--tls-key', old[1]).start()
    a, b = pair.nodes
    add(relay, a)
    wait_idle(a, b)
    replace(old, new)
    if asked:
        relay.process.send_signal(signal.SIGHUP)
    eventually(lambda: shown_by(relay) == pem_of(old[0]), 30)
    assert 'shows the certificate' in relay.log.read_text()
    pair.cut()
    a.write('r.json', '{}')
    eventually(lambda: b.exists('r.json'), 20)
    assert relay.log.read_text().count('listening') == 1


def test_renewal_that_is_damaged_changes_nothing(relays, authority):
    old = authority.issue('relay')
    relay = relays('--tls-cert', old[0], '--tls-key', old[1]).start()
    shown = shown_by(relay)
    old[0].write_text('-----BEGIN CERTIFICATE-----\nMII')
    relay.process.send_signal(signal.SIGHUP)
    eventually(lambda: 'the certificate from before stays' in relay.log.read_text())
    assert shown_by(relay) == shown
    new = authority.issue('new')
    replace(old, new)
    relay.process.send_signal(signal.SIGHUP)
    eventually(lambda: shown_by(relay) == pem_of(old[0]))


def test_own_certificate_that_is_made_anew_is_told(relays):
    relay = relays('--self-signed').start()
    before = relay.address
    for name in ('tls.crt', 'tls.key'):
        (relay.home / name).unlink()
    relay.run('setup', '--self-signed')
    relay.process.send_signal(signal.SIGHUP)
    eventually(lambda: 'devices need its new address' in relay.log.read_text())
    assert relay.address != before and relay.address.split('&p=')[0] == before.split('&p=')[0]


def test_setup_again_keeps_the_certificate(relays):
    relay = relays('--self-signed')
    before = relay.address, (relay.home / 'relay.conf').read_text()
    relay.run('setup', '--self-signed')
    assert (relay.address, (relay.home / 'relay.conf').read_text()) == before


def test_relay_that_was_plain_gets_tls(relays):
    relay = relays()
    before = relay.address
    relay.run('setup', '--self-signed')
    assert relay.address.startswith(before.replace('ws://', 'wss://') + '&p=')


# ---- files that are no good -------------------------------------------------------------------------

BAD = {
    'no certificate file': (lambda c, k, o: c.unlink(), 'cannot read {cert}: No such file'),
    'no key file': (lambda c, k, o: k.unlink(), 'cannot read {key}: No such file'),
    'key for everybody': (lambda c, k, o: k.chmod(0o644), '{key} is a private key that every user can read'),
    'no certificate in it': (lambda c, k, o: c.write_text('hello\n'), '{cert} holds no certificate'),
    'empty certificate': (lambda c, k, o: c.write_text(''), '{cert} holds no certificate'),
    'half a certificate': (lambda c, k, o: c.write_text(c.read_text()[:300]), '{cert} holds no certificate'),
    'damaged chain': (lambda c, k, o: c.write_text(c.read_text()[:-60]), '{cert} is damaged after its first'),
    'no key in it': (lambda c, k, o: k.write_text(c.read_text()), '{key} holds no private key'),
    'key of another': (lambda c, k, o: k.write_text(o.read_text()), '{key} is not the key of the certificate'),
    'key with a password': (lambda c, k, o: openssl('ec', '-in', o, '-aes256', '-passout', 'pass:x', '-out', k),
                            '{key} is locked with a password'),
    'directory': (lambda c, k, o: (c.unlink(), c.mkdir()), '{cert} is no PEM file'),
    'giant': (lambda c, k, o: os.truncate(c, 1 << 30), '{cert} is no PEM file'),
}


@pytest.mark.parametrize('what', BAD)
def test_bad_files(relays, authority, what):
    chain, secret = authority.issue('relay')
    other = authority.issue('other')[1]
    relay = relays('--tls-cert', chain, '--tls-key', secret)
    damage, said = BAD[what]
    damage(chain, secret, other)
    for command in ('setup', 'address', 'run'):
        found = [line for line in relay.run(command, code=1).stderr.splitlines() if 'will be told to dial' not in line]
        assert len(found) == 1 and found[0].startswith('blaze-relay: ') and \
            said.format(cert=chain, key=secret) in found[0], found


@pytest.mark.root
def test_key_that_the_user_cannot_read(relays, authority, directory):
    chain, secret = authority.issue('relay')
    relay = relays('--tls-cert', chain, '--tls-key', secret)
    for path in [relay.home, *relay.home.iterdir()]:
        os.chown(path, 65534, 65534)
    for path in [*directory.parents, directory, relay.directory]:
        if path.stat().st_uid == 0 and str(path).startswith('/tmp/'):
            path.chmod(0o755)
    program = shutil.copy(relay.program, directory)  # the build may be where nobody else may look
    done = subprocess.run(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', program, 'run', '--home', relay.home],
                          env=relay.env, capture_output=True, text=True, timeout=30 * SCALE)
    assert done.returncode == 1 and 'Permission denied; the user that runs the relay' in done.stderr


def test_weak_key(relays, authority):
    with pytest.raises(AssertionError, match='cannot be used: ee key too small'):
        relays('--tls-cert', *with_key(authority.issue('relay', ('rsa:1024',))))


def with_key(files):
    return files[0], '--tls-key', files[1]


def test_expired(pair, relays, authority):
    """Who sets it up is told; a relay that is restarted later serves on: devices do not look at dates."""
    with pytest.raises(AssertionError, match='expired on 2020-01-01: renew it'):
        relays('--tls-cert', *with_key(authority.issue('old', days=-1)))
    now, late = authority.issue('relay'), authority.issue('late', days=-1)
    relay = relays('--tls-cert', *with_key(now), name='other').start()
    shown = shown_by(relay)
    replace(now, late)
    relay.process.send_signal(signal.SIGHUP)
    eventually(lambda: 'expired on 2020-01-01' in relay.log.read_text())
    assert shown_by(relay) == shown
    relay.stop()
    relay.start()
    assert 'renew it; devices do not mind' in relay.log.read_text()
    add(relay, pair.nodes[0])
    wait_idle(pair.nodes[0])


@pytest.mark.parametrize('args, said', [(['--tls-cert', '/c'], 'wanted both'), (['--tls-key', '/k'], 'wanted both')])
def test_one_file_without_the_other(relays, args, said):
    assert said in relays().run('address', *args, code=1).stderr


@pytest.mark.parametrize('path', ['relative.pem', '', '/with blank'])
def test_paths_that_cannot_be(relays, path):
    assert 'has to begin with /' in relays().run('address', '--tls-cert', path, code=2).stderr


# ---- strangers --------------------------------------------------------------------------------------

HELLO = b'\x01'  # ClientHello, of the handshake protocol


def record(data, kind=22):
    return struct.pack('>BHH', kind, 0x0301, len(data)) + data


def connect(relay):
    host, port = relay.listen.rsplit(':', 1)
    return socket.create_connection((host, int(port)), timeout=30 * SCALE)


def ends(s):
    """Reads to the end, whichever it is."""
    data = b''
    try:
        while chunk := s.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data


STRANGERS = {
    'silent': b'',
    'one byte': b'\x16',
    'half a header': b'\x16\x03\x01',
    'half a hello': record(HELLO + b'\x00\x40\x00' + bytes(1000)),
    'empty records': record(b'') * 8,
    'noise': bytes(range(256)) * 4,
    'http': b'GET /blaze/1 HTTP/1.1\r\nHost: h\r\n\r\n',
    'alert': record(b'\x02\x28', 21),
    'data first': record(bytes(100), 23),
    'ssl 2': b'\x80\x2e\x01\x00\x02' + bytes(41),
}


def test_strangers_are_given_up_while_others_are_served(relays, node):
    """None of them holds a place for long, and who belongs here gets in at the same time."""
    relay = relays('--self-signed').start()
    strangers = {what: connect(relay) for what in STRANGERS}
    try:
        for what, s in strangers.items():
            s.sendall(STRANGERS[what])
        add(relay, node)
        wait_idle(node)
        for what, s in strangers.items():
            ends(s)
    finally:
        for s in strangers.values():
            s.close()
    assert relay.process.poll() is None


def test_drip(relays):
    """A byte now and then, all of a valid beginning: the time runs from accept, not from the last byte."""
    relay = relays('--self-signed').start()
    with connect(relay) as s:
        s.settimeout(0.2)
        sent = 0
        for byte in record(HELLO + b'\x00\x40\x00' + bytes(16000)):
            try:
                s.sendall(bytes([byte]))
                sent += 1
                if not s.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert sent < 30 * SCALE


def test_giant_hello(relays):
    """OpenSSL would take 128 KiB: what is before the handshake is cut off at 16 KiB."""
    relay = relays('--self-signed').start()
    with connect(relay) as s:
        s.sendall(record(HELLO + b'\x01\xff\x00' + bytes(16000)))
        try:
            s.sendall(record(bytes(16000)))
        except OSError:
            pass
        ends(s)
    eventually(lambda: 'too much of TLS' in relay.log.read_text())


def test_tls_and_then_silence(relays):
    """Who is through TLS is nobody yet."""
    relay = relays('--self-signed').start()
    context = ssl._create_unverified_context()
    with context.wrap_socket(connect(relay)) as s:
        assert s.version() == 'TLSv1.3'
        try:
            assert ends(s) == b''
        except ssl.SSLEOFError:
            pass


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_old_versions_are_refused(relays):
    relay = relays('--self-signed').start()
    context = ssl._create_unverified_context()
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers('ALL:@SECLEVEL=0')
    with pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(connect(relay))


def test_help_names_it(relays):
    said = relays().run('run', '--help').stdout
    assert '--tls-cert' in said and '--tls-key' in said and '--self-signed' in said
