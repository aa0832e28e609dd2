"""Measures objio beside its peers and the limits of the machine; see README.md in this folder."""

import argparse
import contextlib
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.machine import commit, filesystem, machine, versions
from benchmarks.plots import draw
from benchmarks.report import document, goals, growth, overview, rewritten, workload_tables
from benchmarks.runner import ROOT, Run
from benchmarks.workloads import SETS

HERE = Path(__file__).parent
ASSETS = ROOT / 'docs' / 'assets'
PAGES = {HERE / 'README.md': document, ROOT / 'docs' / 'reference' / 'benchmarks.md': overview}
"""What the results stand in, and what writes them there."""


def main(arguments: list[str] | None = None) -> int:
    """Runs what the command line asks for; the exit status."""
    options = parser().parse_args(arguments)
    if options.render:
        publish(json.loads(options.render.read_text(encoding='utf-8')))
        return 0
    whole = options.set == 'full' and not options.only
    if whole:
        # Not where the repository keeps results: the pages show the newest of those, and are written at the end.
        options.json = options.json or options.folder / 'benchmarks.json'
        options.json.unlink(missing_ok=True)
    # Whoever stops it finds no gigabytes left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix='bench-', dir=options.folder))
    try:
        results = measure(options, folder)
    except KeyboardInterrupt:
        kept = f'; what was measured is in {options.json}' if options.json and options.json.exists() else ''
        print(f'interrupted: README.md is as it was{kept}', file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    failed = [
        f'{workload["title"]}: {row["title"]}: {row["error"]}'
        for workload in results['workloads']
        for rows in workload['operations'].values()
        for row in rows
        if row['role'] == 'objio' and row['error']
    ]
    if failed:
        print('\nobjio itself failed, so nothing was published:\n' + '\n'.join(failed), file=sys.stderr)
        return 1
    if whole:
        publish(results)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks', description=__doc__)
    parser.add_argument('--set', choices=SETS, default='full', help='which workloads; "full" rewrites the results')
    parser.add_argument(
        '--only', default='', metavar='A,B', help='these workloads of the set; prints, rewrites nothing'
    )
    parser.add_argument('--rounds', type=int, metavar='N', help='for every workload, instead of its own number')
    parser.add_argument('--folder', type=Path, default=ROOT / 'build', help='where files go, on the disk to measure')
    parser.add_argument('--disk', type=float, default=10, metavar='GIB', help='how much of it may be taken at a time')
    parser.add_argument('--seed', type=int, default=random.SystemRandom().randrange(10**6), help='of the shuffling')
    parser.add_argument('--json', type=Path, metavar='FILE', help='where the results go too')
    parser.add_argument(
        '--render', type=Path, metavar='FILE', help='draw and write again from results, measure nothing'
    )
    return parser


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measures every workload that was asked for, and prints each as it is done.

    Args:
        options: of the command line.
        folder: an empty one.

    Raises:
        SystemExit: a workload of `--only` is unknown.
    """
    wanted = [name for name in options.only.split(',') if name]
    chosen = [workload for workload in SETS[options.set] if not wanted or workload.name in wanted]
    if len(chosen) < len(wanted):
        sys.exit(
            f'unknown workload in {options.only!r}; there are {", ".join(each.name for each in SETS[options.set])}'
        )
    if filesystem(folder) == 'tmpfs':
        print('warning: this folder is memory, not a disk; choose another with --folder', file=sys.stderr)
    rng = random.Random(options.seed)
    results: dict[str, Any] = {
        'date': datetime.now(tz=UTC).strftime('%Y-%m-%d'),
        'machine': machine(folder),
        'versions': versions(),
        'commit': commit(),
        'seed': options.seed,
        'workloads': [],
    }
    runs = [
        Run(options.set, each, folder, disk=int(options.disk * 2**30), rng=rng, rounds=options.rounds or each.rounds)
        for each in chosen
    ]
    start = time.monotonic()
    print(f'{sum(run.jobs for run in runs)} timed runs, each in a process of its own', flush=True)
    with progress(sum(run.jobs for run in runs)) as tell:
        for run in runs:
            found = run.measure(tell)
            results['workloads'].append(found)
            results['minutes'] = round((time.monotonic() - start) / 60, 1)
            if not found['group']:
                print('\n' + '\n\n'.join(workload_tables(found)), flush=True)
            if options.json:
                write_json(options.json, results)
    for part in [*growth([each for each in results['workloads'] if each['group']]), *goals(results['workloads'])]:
        print('\n' + part)
    print(f'\n{results["minutes"]} minutes')
    return results


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal, and nothing elsewhere; what it gives is called before each run with what that is."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task('', total=total)
        done = -1

        def tell(text: str) -> None:
            nonlocal done
            done += 1
            bar.update(task, description=text, completed=done)

        yield tell


def publish(results: dict[str, Any]) -> None:
    """Writes results where the repository keeps them: JSON, plots, and the tables of README.md and of the site."""
    write_json(results_file(results['date']), results)
    draw(results, ASSETS)
    for page, tables in PAGES.items():
        page.write_text(rewritten(page.read_text(encoding='utf-8'), tables(results)), encoding='utf-8')
    pages = ', '.join(str(page.relative_to(ROOT)) for page in PAGES)
    print(f'written: {pages}, benchmarks/results/{results["date"]}.json, docs/assets/benchmark-*.png')


def results_file(date: str) -> Path:
    """Where the repository keeps the results of a day."""
    return HERE / 'results' / f'{date}.json'


def write_json(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


if __name__ == '__main__':
    sys.exit(main())
