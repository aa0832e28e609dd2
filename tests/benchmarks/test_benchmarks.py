"""The benchmarks run, tell true things about what they ran, and leave nothing behind. How fast anything is, no test says."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, '-m', 'benchmarks', '--set', 'tiny']


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def row(title: str, seconds: list[float], role: str = 'peer', **more: Any) -> dict[str, Any]:
    """A row of results."""
    return {
        'title': title,
        'role': role,
        'numpy': False,
        'durable': False,
        'limit': '',
        'seconds': seconds,
        'peak': [0] * len(seconds),
        'error': '',
        **more,
    }


@pytest.mark.parametrize('disk', [0, 1 << 30], ids=['one by one', 'together'])
def test_every_operation_is_measured_and_checked(tmp_path: Path, disk: int) -> None:
    """Each way has a time and no error for each round, and no file is left."""
    from benchmarks.runner import Run
    from benchmarks.worker import work
    from benchmarks.workloads import OPERATIONS, TINY

    told: list[str] = []
    # In this process: what is tested is that everything runs, and two dozen processes take their time.
    run = Run('tiny', TINY[0], tmp_path, disk=disk, rng=random.Random(0), rounds=2, do=work)
    measured = run.measure(told.append)['operations']
    assert set(measured) == set(OPERATIONS) - {'mean', 'import'}
    rows = [each for rows in measured.values() for each in rows]
    assert {each['title']: each['error'] for each in rows if each['error']} == {}
    assert all(len(each['seconds']) == 2 and min(each['seconds']) > 0 for each in rows)
    assert len(told) == run.jobs
    assert list(tmp_path.iterdir()) == []


def test_a_slow_row_takes_part_in_the_first_rounds_only(tmp_path: Path) -> None:
    """A library or row with fewer rounds runs in the first ones, is compared inside those, and says how many."""
    from benchmarks.runner import Run
    from benchmarks.summary import Spread, lines
    from benchmarks.workloads import TINY

    workload = replace(TINY[0], operations=('save',), fewer={'np.savez': 1, 'write, fsync': 2}, without=('write',))
    ran: list[str] = []

    def do(job: dict[str, Any]) -> dict[str, Any]:
        ran.append(job['title'])
        return {'seconds': float(len(ran)), 'peak': 0}

    run = Run('tiny', workload, tmp_path, disk=0, rng=random.Random(0), rounds=3, do=do)
    saves = run.measure(lambda _: None)['operations']['save']
    assert [ran.count(title) for title in ('np.savez', 'objio', 'write, fsync', 'write')] == [1, 3, 2, 0]
    assert len(ran) == run.jobs
    found = {line.title: line for line in lines(saves, 'save')}
    assert found['np.savez'].label == 'np.savez (1 round)'
    assert found['objio'].label == 'objio (synced)'
    times = {each['title']: each['seconds'] for each in saves}
    assert found['objio'].against_peer == Spread.of([times['np.savez'][0] / times['objio'][0]])


def test_what_a_snapshot_costs_is_measured_while_it_is_held(tmp_path: Path) -> None:
    """Until it is told to go on, the save of that row has a snapshot and no file; what it then writes is the snapshot."""
    from benchmarks.ours import hold

    arrays = {'w': jnp.arange(6.0)}
    finish = hold(str(tmp_path), arrays)()
    stepped = jax.jit(lambda array: array + 1, donate_argnums=0)(arrays['w'])
    assert list((tmp_path / 'ckpt').glob('*.npz')) == []
    finish()
    (save,) = (tmp_path / 'ckpt').glob('*.npz')
    assert np.load(save)['w'].tolist() == [0, 1, 2, 3, 4, 5]
    assert stepped.tolist() == [1, 2, 3, 4, 5, 6]


def test_a_run_prints_its_tables(tmp_path: Path) -> None:
    """A run from the command line prints a table, writes its results as JSON and leaves no other file."""
    results = tmp_path / 'results.json'
    command = [*COMMAND, '--only', 'tiny-mean', '--folder', tmp_path / 'disk', '--json', results]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    assert '| **objio.average** ' in ran.stdout
    (workload,) = json.loads(results.read_text(encoding='utf-8'))['workloads']
    assert [each['error'] for each in workload['operations']['mean']] == ['', '']
    assert list((tmp_path / 'disk').iterdir()) == []


def test_a_load_of_other_values_is_no_result() -> None:
    """What a library loads is compared bit for bit with what was saved."""
    import jax.numpy as jnp

    from benchmarks.contenders import Way
    from benchmarks.worker import compare
    from benchmarks.workloads import TINY

    way, arrays = Way('load', 'somebody', print), TINY[0].tree.arrays()
    compare(arrays, TINY[0], way)
    with pytest.raises(ValueError, match=r'layer\.1\.weight differs from what was saved'):
        compare({**arrays, 'layer.1.weight': arrays['layer.0.weight']}, TINY[0], way)
    with pytest.raises(ValueError, match='is bfloat16'):
        compare({'layer.1.weight': arrays['layer.1.weight'].astype(jnp.bfloat16)}, TINY[0], way)
    with pytest.raises(ValueError, match='is a ndarray, expected a .*Array'):
        compare({'layer.1.weight': TINY[0].tree.array('layer.1.weight')}, TINY[0], way)


def test_what_a_library_cannot_do_is_told() -> None:
    """A worker whose library fails answers with the reason."""
    from benchmarks.runner import run_job

    job = {'set': 'tiny', 'workload': 'tiny', 'library': 'np.savez', 'operation': 'load', 'title': 'np.savez'}
    assert 'No such file or directory' in run_job({**job, 'path': '/nowhere/x.npz', 'check': True})['error']


def test_ratios_are_taken_inside_a_round() -> None:
    """A slow hour that hits both rows of each round alike does not show in their ratio."""
    from benchmarks.summary import lines

    rows = [
        row('objio', [1.0, 100.0, 2.0], 'objio', limit='disk'),
        row('quick', [2.0, 300.0, 4.0]),
        row('slow', [9.0, 900.0, 9.0]),
        row('numpy only', [0.1, 0.1, 0.1], numpy=True),
        row('broken', [], error='cannot'),
        row('disk', [0.5, 50.0, 1.0], 'limit'),
    ]
    ours, *others = lines(rows, 'load')
    assert [line.title for line in others] == ['numpy only', 'quick', 'slow', 'broken', 'disk']
    assert ours.against_peer is not None
    assert ours.against_limit is not None
    assert (ours.against_peer.median, ours.against_peer.low, ours.against_peer.high) == (2.0, 2.0, 3.0)
    assert (ours.against_limit.low, ours.against_limit.high) == (0.5, 0.5)


def test_a_run_rewrites_its_section_of_the_page_alone() -> None:
    """Tables replace what stands between the marks; a page without marks is refused."""
    from benchmarks.__main__ import PAGES
    from benchmarks.report import rewritten

    place = dict.fromkeys(('processor', 'cores', 'memory', 'filesystem', 'system', 'python'), 'x')
    results = {'date': '2001-01-01', 'machine': place, 'versions': {}, 'minutes': 90, 'commit': 'abc', 'workloads': []}
    for path, tables in PAGES.items():
        page = path.read_text(encoding='utf-8')
        once = rewritten(page, tables(results))
        assert once.startswith(page[: page.index('<!-- results')])
        assert '2001-01-01' in once
        assert rewritten(once, tables(results)) == once
    with pytest.raises(ValueError, match='no place for the results'):
        rewritten('# Benchmarks', 'tables')


def test_the_pages_show_the_newest_results() -> None:
    """README.md and the site say what the newest file of results says, and name plots that are there."""
    from benchmarks.__main__ import PAGES, results_file
    from benchmarks.report import BEGIN, END, rewritten

    newest = max(results_file('').parent.glob('*.json'), default=None)
    for path, tables in PAGES.items():
        page = path.read_text(encoding='utf-8')
        if newest is None:
            assert f'{BEGIN}\n\n{END}' in page
        else:
            assert rewritten(page, tables(json.loads(newest.read_text(encoding='utf-8')))) == page
        assert all((path.parent / plot).is_file() for plot in re.findall(r'!\[.*?\]\((.*?)\)', page))


def test_a_run_draws_its_plots(tmp_path: Path) -> None:
    """Bars and growth are drawn from results, also where a row has no times."""
    from benchmarks.plots import draw
    from benchmarks.report import growth

    rows = [row('objio', [1.0, 2.0], 'objio', limit='disk'), row('disk', [0.5, 1.0], 'limit'), row('no', [], error='?')]
    operations = {'save': rows, 'load': rows}
    common = {'title': 'GPT-2', 'bytes': 1 << 20, 'rounds': 2, 'operations': operations}
    workloads = [{'name': 'gpt2-f32', 'group': '', **common}]
    workloads += [
        {'name': f'{group}-{arrays}', 'group': group, **common, 'arrays': arrays, 'title': f'{arrays} arrays'}
        for group in ('bytes', 'count')
        for arrays in (10, 100)
    ]
    drawn = draw({'workloads': workloads}, tmp_path)
    assert [path.name for path in drawn] == ['benchmark-gpt2.png', 'benchmark-growth.png']
    assert all(path.read_bytes().startswith(b'\x89PNG') for path in drawn)
    assert len(growth(workloads[1:])) == 4


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_leaves_no_file(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C or a request to end removes the folder of the run, and its status says that it was stopped."""
    with subprocess.Popen(
        [*COMMAND, '--folder', tmp_path], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert 'timed runs' in process.stdout.readline()
        os.kill(process.pid, number)
        process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_the_claims_of_the_readme_are_those_of_the_tables() -> None:
    """Each figure in the row "Fast" of the README stands in the results that were published last."""
    fast = next(line for line in (ROOT / 'README.md').read_text().splitlines() if line.startswith('| **Fast** |'))
    results = (ROOT / 'benchmarks' / 'README.md').read_text().partition('<!-- results')[2]
    figures = re.findall(r'\d+\.\d+', fast)
    assert len(figures) >= 5
    assert [figure for figure in figures if f'| {figure} (' not in re.sub(r'\| +', '| ', results)] == []
