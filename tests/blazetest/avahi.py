"""A D-Bus and an avahi-daemon of the test's own, in a network namespace (root only)."""
import subprocess
from pathlib import Path

from blazetest.wait import SCALE, eventually

BUS = """<busconfig><type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_requested_reply="true"/><allow send_destination="*"/><allow receive_type="method_call"/>
<allow receive_type="signal"/><allow receive_type="method_return"/><allow receive_type="error"/></policy></busconfig>
"""
DAEMON = """[server]
host-name={name}
use-ipv6=no
ratelimit-interval-usec=1000000
ratelimit-burst=1000
[wide-area]
enable-wide-area=no
[publish]
publish-workstation=no
publish-hinfo=no
"""


class Avahi:
    """`env` is for programs that are to find it."""

    def __init__(self, directory, name, netns):
        self.directory, self.name, self.netns = Path(directory) / f'avahi-{name}', name, netns
        self.directory.mkdir()
        self.socket = self.directory / 'bus'
        self.env = {'DBUS_SYSTEM_BUS_ADDRESS': f'unix:path={self.socket}', 'BLAZE_DNSSD': '1'}
        self.log = self.directory / 'log'
        self.bus = self.daemon = None

    def _start(self, *argv):
        with open(self.log, 'ab') as log:
            return subprocess.Popen([str(a) for a in argv], env={**self.env, 'PATH': '/usr/sbin:/usr/bin:/sbin:/bin'},
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def start(self):
        if self.bus is None:
            (self.directory / 'bus.conf').write_text(BUS.format(socket=self.socket))
            (self.directory / 'daemon.conf').write_text(DAEMON.format(name=self.name))
            self.bus = self._start('dbus-daemon', '--nofork', f'--config-file={self.directory}/bus.conf')
            eventually(self.socket.exists, 10, 'the bus listens')
        before = self.log.read_text().count('Server startup complete')
        # Its process file is in /run: that has to be its own.
        self.daemon = self._start('nsenter', f'--net=/proc/{self.netns}/ns/net', '--', 'unshare', '--mount', '--propagation', 'private',
                                  'sh', '-c', 'mount -t tmpfs run /run && exec avahi-daemon --no-drop-root --no-chroot --no-rlimits '
                                  f'--no-proc-title -f {self.directory}/daemon.conf')
        eventually(lambda: self.log.read_text().count('Server startup complete') > before, 20, 'avahi-daemon answers')
        return self

    def kill_daemon(self):
        daemon, self.daemon = self.daemon, None
        if daemon:
            daemon.kill()
            daemon.wait(10 * SCALE)

    def stop(self):
        self.kill_daemon()
        bus, self.bus = self.bus, None
        if bus:
            bus.kill()
            bus.wait(10 * SCALE)
