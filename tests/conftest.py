"""Fixtures only. Every test has a directory of its own, kept when it fails."""
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

from blazetest import Cluster, Node, report
from blazetest.faults import Fault
from blazetest.node import BIN
from blazetest.place import Place
from blazetest.wait import SCALE

# Short, outside the tree: a mount inside the build directory would be in the way of git and find.
RUN = 'BLAZE_RUN_DIRECTORY'


class OneLine(TerminalReporter):
    """Says nothing when a test starts: its one line comes with its result."""

    def pytest_runtest_logstart(self, nodeid, location):
        pass


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    if RUN not in os.environ:
        os.environ[RUN] = tempfile.mkdtemp(prefix='blaze-test-')
        config.blaze_run = Path(os.environ[RUN])
        signal.signal(signal.SIGTERM, interrupt)
    standard = config.pluginmanager.getplugin('terminalreporter')
    if standard:
        config.pluginmanager.unregister(standard)
        config.pluginmanager.register(OneLine(config), 'terminalreporter')


def pytest_unconfigure(config):
    """Only where the session began: what an interrupted worker left mounted goes, empty directories too."""
    run = getattr(config, 'blaze_run', None)
    if run is None:
        return
    with open('/proc/self/mountinfo', encoding='utf-8') as f:
        left = [line.split()[4] for line in f]
    for mount in reversed([m for m in left if m.startswith(f'{run}/')]):
        tool = ['umount', '-l'] if os.geteuid() == 0 else ['fusermount3', '-uz']
        subprocess.run([*tool, mount], check=False, capture_output=True)
    if not any(run.iterdir()):
        run.rmdir()


def pytest_report_header():
    return f'under test: {BIN} (preset {report.PRESET})'


def pytest_collection_modifyitems(items):
    for item in items:
        timeout = item.get_closest_marker('timeout')
        seconds = (timeout.args[0] if timeout else 120) * SCALE
        item.add_marker(pytest.mark.timeout(seconds), append=False)
        if item.get_closest_marker('root') and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason='needs root'))


def pytest_report_teststatus(report):
    """One line a test, with the time its setup and itself took."""
    if report.when == 'setup':
        _SETUP_SECONDS[report.nodeid] = report.duration
    if report.when == 'call' and report.outcome in ('passed', 'failed'):
        letter = {'passed': '.', 'failed': 'F'}[report.outcome]
        seconds = _SETUP_SECONDS.get(report.nodeid, 0) + report.duration
        return report.outcome, letter, f'{report.outcome.upper()} {seconds:6.2f} s'
    return None


_SETUP_SECONDS = {}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    result = outcome.get_result()
    if result.failed and 'directory' in getattr(item, 'funcargs', {}):
        item.blaze_failed = True
        result.sections.append(('blaze', report.of_failure(item.nodeid, item.funcargs['directory'])))


@pytest.fixture
def directory(request):
    """A directory of this test's own; stays when the test fails, or with BLAZE_KEEP=1."""
    name = re.sub(r'\W+', '_', request.node.name)[:40]
    path = Path(tempfile.mkdtemp(prefix=f'{name}.', dir=os.environ[RUN]))
    yield path
    if not getattr(request.node, 'blaze_failed', False) and 'BLAZE_KEEP' not in os.environ:
        shutil.rmtree(path, ignore_errors=True)


def _ends(request, thing):
    """Ends a node or cluster: with judgement after a test that passed, just so after one that failed."""
    try:
        if not getattr(request.node, 'blaze_failed', False):
            thing.close()
    except BaseException:
        request.node.blaze_failed = True
        raise
    finally:
        thing.discard()


@pytest.fixture
def device(directory, request):
    """A device with nothing on it: no database, no mount."""
    node = Node(directory)
    yield node
    _ends(request, node)


@pytest.fixture
def node(device):
    """A device with a mounted database."""
    return device.init().mount()


@pytest.fixture
def clusters(directory, request):
    """Makes clusters: clusters(3) is three devices that share a database."""
    made = []

    def make(count=2):
        made.append(Cluster(directory, count))
        return made[-1]

    yield make
    for cluster in made:
        _ends(request, cluster)


@pytest.fixture
def disk(device):
    """(a device with a mounted database, its disk): calls on files fail or wait by rule (faults/failio.c)."""
    fault = Fault(device, 'failio')
    yield device.init().mount(), fault
    fault.clear()


@pytest.fixture
def pair(clusters):
    """Two devices that share a database; the link between them is pair.proxy()."""
    return clusters(2)


@pytest.fixture
def places(pair, directory):
    """The mount of the first device, and a directory in memory: another file system than HOME for both."""
    plain = Path(tempfile.mkdtemp(prefix='blaze-plain-', dir='/dev/shm'))
    yield Place(pair.nodes[0].mnt, directory / 'mount-home'), Place(plain, directory / 'plain-home')
    shutil.rmtree(plain)
