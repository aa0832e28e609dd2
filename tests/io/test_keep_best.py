"""The best saves of a Checkpoint: which are meant, and that none is lost because its metric is not there."""

import logging
import math
from pathlib import Path
from typing import Any

import jax
import pytest
from support_checkpoint import fill, model, names
from support_wide import Wide

import objio

VALUES = [0.1, 0.9, 0.5]


@pytest.mark.parametrize(
    ('metric', 'best'),
    [
        ('accuracy', 2), ('val_mIoU', 2), ('mAP@0.5', 2), ('bleu4', 2), ('test/win_rate', 2), ('mcc', 2), ('elbo', 2),
        ('throughput', 2), ('valRocAuc', 2), ('top_5_error', 1), ('val_loss', 1), ('eval.perplexity', 1), ('wer', 1),
    ],
)  # fmt: skip
def test_the_best_save_is_the_best(metric: str, best: int, tmp_path: Path) -> None:
    """Without `best_mode` the name of the metric tells whether the least or the greatest stays."""
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1, keep_best=1, best_metric=metric)
    for idx, value in enumerate(VALUES, 1):
        ckpt.save(model(idx), idx, metrics={metric: value})
    assert (ckpt.idxs(), ckpt.best()) == ([best, 3], best)
    assert ckpt.idxs() == objio.Checkpoint(tmp_path).idxs()


@pytest.mark.parametrize(
    'metric', ['accuracy_loss', 'reward_cost', 'm', 'learning_rate', 'mapping', 'accuracy_gap', '']
)
@pytest.mark.parametrize('keep_best', [0, 1])
def test_a_name_that_does_not_tell_is_refused_at_once(metric: str, keep_best: int, tmp_path: Path) -> None:
    """The Checkpoint is not made, no folder either, and the message gives the cure; `best_mode` is that cure."""
    with pytest.raises(ValueError, match=r"give best_mode='min' where less is better, best_mode='max' where more is"):
        objio.Checkpoint(tmp_path / 'run', keep_best=keep_best, best_metric=metric)
    with pytest.raises(ValueError, match='give best_mode='):
        Wide(tmp_path / 'm').checkpoint(keep_best=keep_best, best_metric=metric)
    assert names(tmp_path) == []
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1, keep_best=1, best_metric=metric, best_mode='max')
    for idx, value in enumerate(VALUES, 1):
        ckpt.save(model(idx), idx, metrics={metric: value})
    assert (ckpt.idxs(), ckpt.best()) == ([2, 3], 2)


@pytest.mark.parametrize(
    ('metrics', 'found'),
    [
        (None, 'metrics has none'),
        ({}, 'metrics has none'),
        ({'valid_loss': 0.1}, r"metrics has 'valid_loss' \(did you mean 'valid_loss'\?\)"),
        ({'val/loss': 0.1, 'acc': 1.0}, r"metrics has 'val/loss', 'acc' \(did you mean 'val/loss'\?\)"),
        ({'Val_loss': 0.1}, r"metrics has 'Val_loss' \(did you mean 'Val_loss'\?\)"),
        ({'x': 1.0}, "metrics has 'x'; nothing was written"),
    ],
)
@pytest.mark.parametrize(('process', 'background'), [(0, False), (0, True), (1, False), (1, True)])
def test_a_save_without_the_metric_is_refused(
    metrics: Any,
    found: str,
    process: int,
    background: bool,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On each process, before a file or a folder is made or removed; the message names what was given."""
    ckpt = objio.Checkpoint(tmp_path / 'a', keep_ckpts=1, keep_best=1, best_metric='val_loss', background=background)
    fresh = Wide(tmp_path / 'b').checkpoint(keep_best=1, best_metric='val_loss', background=background)
    fill(ckpt, 1, metrics={'val_loss': 0.5})
    ckpt.wait()
    monkeypatch.setattr(jax, 'process_index', lambda: process)
    with pytest.raises(
        ValueError, match=rf"keep_best goes by the metric 'val_loss', and {found}.*{{'val_loss': \.\.\.}}"
    ):
        ckpt.save(model(2), 2, metrics=metrics)
    with pytest.raises(ValueError, match=rf"keep_best goes by the metric 'val_loss', and {found}"):
        fresh.save(model(2), 2, metrics=metrics)
    ckpt.close()
    fresh.close()
    assert names(tmp_path) == ['a']
    assert names(tmp_path / 'a/ckpt') == ['0000000001.npz']


def test_nan_is_a_metric_and_the_worst(tmp_path: Path) -> None:
    """A save whose metric is NaN is made, and any number is better in either direction."""
    for metric in ('loss', 'accuracy'):
        ckpt = objio.Checkpoint(tmp_path / metric, keep_ckpts=1, keep_best=1, best_metric=metric)
        for idx, value in enumerate([math.nan, 0.5, math.nan, math.nan], 1):
            ckpt.save(model(idx), idx, metrics={metric: value})
        assert (ckpt.idxs(), ckpt.best()) == ([2, 4], 2)


def test_best_alone_passes_saves_without_the_metric_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without `keep_best` nothing is lost: such a save is made, and the log tells once where others are given."""
    ckpt = objio.Checkpoint(tmp_path, best_metric='val_loss', verbose=False)
    fill(ckpt, 1)
    ckpt.save(model(2), 2, metrics={'val_loss': 0.5})
    assert caplog.text == ''
    for idx in (3, 4):
        ckpt.save(model(idx), idx, metrics={'valid_loss': 0.1})
    assert (ckpt.idxs(), ckpt.best()) == ([1, 2, 3, 4], 2)
    assert caplog.text.count("best() goes by the metric 'val_loss', and metrics has 'valid_loss'") == 1


def test_a_metric_of_another_name_is_told_when_a_run_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Saves made under another metric are the worst, and the log says so before the first of them is removed."""
    old = objio.Checkpoint(tmp_path, keep_ckpts=1, keep_best=1, best_metric='val_loss', verbose=False)
    for idx, value in enumerate([0.1, 0.9], 1):
        old.save(model(idx), idx, metrics={'val_loss': value})
    assert old.idxs() == [1, 2]
    new = objio.Checkpoint(tmp_path, keep_ckpts=1, keep_best=1, best_metric='valid_loss', verbose=False)
    seen: list[list[str]] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(names(tmp_path / 'ckpt'))  # type: ignore[method-assign]
    logging.getLogger('objio').addHandler(handler)
    try:
        for idx in (3, 4):
            new.save(model(idx), idx, metrics={'valid_loss': 0.5 + idx})
    finally:
        logging.getLogger('objio').removeHandler(handler)
    assert seen == [['0000000001.npz', '0000000002.npz', '0000000003.npz']]
    assert "keep_best goes by the metric 'valid_loss', and older saves" in caplog.text
    assert "The save 2 has 'val_loss'" in caplog.text
    assert new.idxs() == [3, 4]
