"""Runs the whole plan, prints its table, and writes it into `docs/reliability.md`."""

import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import commit, machine, versions
from benchmarks.report import rewritten
from faults.report import BEGIN, END, document, figures, missing, read

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs' / 'reliability.md'


def main(arguments: list[str]) -> int:
    """Runs the proofs; `arguments` go to pytest, and a run that they narrow prints but publishes nothing.

    Returns:
        The exit status: 1 where a test failed or a row of the plan has no figure or too small a one.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / 'figures.xml'
        command = [sys.executable, '-m', 'pytest', 'tests/faults', '-n', '2', f'--junitxml={xml}', *arguments]
        # A proof passes over nothing, unless it is told so.
        environment = {'NO_SKIP': '1'} | os.environ | {'FAULTS': 'full', 'OBJIO_COMMIT': commit()}
        status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        if not xml.exists():
            print('pytest wrote no figures', file=sys.stderr)
            return status or 1
        results = read(xml)
    print(figures(results))
    faults = missing(results, allow_skip=os.environ.get('NO_SKIP', '1') != '1')
    if arguments:
        return status
    if status or faults:
        print('\nnot a proof, so nothing was published:\n' + '\n'.join(faults), file=sys.stderr)
        return 1
    where = machine(ROOT)
    day = datetime.now(UTC).date()
    text = (
        f'{day}, {(time.monotonic() - begun) / 60:.0f} minutes: {where["processor"]}, {where["cores"]} cores, '
        f'{where["memory"]} of memory, {where["system"]}, Python {where["python"]}. objio at {commit()}. '
        f'{", ".join(f"{name} {version}" for name, version in versions().items() if version[0].isdigit())}.'
    )
    page = rewritten(PAGE.read_text(encoding='utf-8'), document(results, text), BEGIN, END)
    PAGE.write_text(page, encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
