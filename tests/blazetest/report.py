"""What a failed test leaves behind: commands, logs, sanitizer reports, and how to run it again."""
import os
import re
from pathlib import Path

PRESET = os.environ.get('BLAZE_PRESET', 'dev')
TAIL_LINES = 60

# Words a healthy daemon has no reason to say.
SUSPICIOUS = re.compile(
    r'\berror\b|sanitizer|assert|abort|panic|segmentation|corrupt|\bleak|data race|runtime error|writing device|\bbug\b',
    re.I)
TIMESTAMP = re.compile(r'^\d{4}-\d\d-\d\dT[\d:.]+Z ')


def suspicious(text, allowed=()):
    """Lines that hold a suspicious word and match none of the allowed patterns as a whole."""
    lines = [TIMESTAMP.sub('', line) for line in text.splitlines()]
    return [line for line in lines
            if SUSPICIOUS.search(line) and not any(re.fullmatch(a, line) for a in allowed)]

SUPPRESSIONS = Path(__file__).parents[1] / 'tsan.supp'


def sanitizer_environment(directory):
    """Reports go to files in the node's directory, where sanitizer_reports() finds them."""
    log = f'log_path={directory}/sanitizer'
    return {
        'ASAN_OPTIONS': f'{log}:detect_leaks=1:abort_on_error=0:exitcode=99:verify_asan_link_order=0',
        'UBSAN_OPTIONS': f'{log}:print_stacktrace=1:halt_on_error=1:exitcode=99',
        'TSAN_OPTIONS': f'{log}:exitcode=99:second_deadlock_stack=1:suppressions={SUPPRESSIONS}',
    }


def sanitizer_reports(directory):
    found = []
    for at, below, names in os.walk(directory):
        below[:] = [name for name in below if name != 'mnt']  # whatever is wrong with the mount
        found += [Path(at) / name for name in names if name.startswith('sanitizer.')]
    return sorted(p for p in found if p.stat().st_size)


def tail(path, lines=TAIL_LINES):
    text = Path(path).read_text(errors='replace').splitlines()
    cut = [f'… {len(text) - lines} lines more in {path}'] if len(text) > lines else []
    return '\n'.join(cut + text[-lines:])


def repro(nodeid):
    preset = '' if PRESET == 'dev' else f'--preset {PRESET} '
    return f"repro: scripts/test {preset}-n 0 '{nodeid}'"


def of_failure(nodeid, directory):
    """The report section of a failed test."""
    parts = [repro(nodeid), f'kept:  {directory}']
    files = sorted(Path(directory).glob('*/commands.log')) + sorted(Path(directory).glob('*/daemon.log'))
    for path in files + sanitizer_reports(directory):
        if path.stat().st_size:
            parts.append(f'--- {path.relative_to(directory)}\n{tail(path)}')
    return '\n'.join(parts)
