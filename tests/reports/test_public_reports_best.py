"""Public reports of a "best" save or run that was the worst, or was gone."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_reports import told, tree_of

import objio


def keep_one(folder: Path, metric: str, values: list[float], **options: Any) -> objio.Checkpoint:
    """A Checkpoint that kept the newest save and the best, of saves whose weight is their index."""
    ckpt = objio.Checkpoint(folder, keep_ckpts=1, keep_best=1, best_metric=metric, **options)
    for idx, value in enumerate(values, 1):
        ckpt.save({'w': np.full(1, idx)}, idx, metrics={metric: value})
    return ckpt


@pytest.mark.parametrize(
    'metric', ['eval_dev_loss', 'eval/dataset-A_loss', 'val-seen_loss', 'lossDev', 'test_nll', 'wer', 'dev.perplexity']
)
def test_a_loss_with_the_name_of_a_data_set(tmp_path: Path, metric: str) -> None:
    """transformers#31142: `eval_dataset-name_loss` was no known loss, so after hours the worst model was left."""
    assert keep_one(tmp_path, metric, [0.5, 0.1, 0.9, 0.4]).idxs() == [2, 4]


@pytest.mark.parametrize('metric', ['val_acc', 'valAccuracy', 'test/f1', 'top5_acc', 'val_AUC', 'mAP@50', 'hits@10'])
def test_a_metric_of_which_more_is_better(tmp_path: Path, metric: str) -> None:
    """pytorch_geometric#6306, keras#1144: the least accuracy was kept as the best. The name of the metric tells."""
    assert keep_one(tmp_path, metric, [0.5, 0.9, 0.1, 0.4]).idxs() == [2, 4]


@pytest.mark.parametrize('metric', ['spider', 'progress', 'accuracy_loss', 'val_x', 'lr'])
def test_a_metric_whose_name_says_nothing(tmp_path: Path, metric: str) -> None:
    """Lightning#19929: a score called `spider`. A direction is never guessed, and the error comes before training."""
    with pytest.raises(ValueError, match="best_mode='min' where less is better, best_mode='max' where more is"):
        objio.Checkpoint(tmp_path, keep_best=1, best_metric=metric)
    assert keep_one(tmp_path, metric, [0.5, 0.9, 0.1, 0.4], best_mode='max').idxs() == [2, 4]


@pytest.mark.parametrize(
    ('values', 'kept'),
    [
        ([math.nan, 1.0, 3.0, 2.0], [3, 4]),
        ([1.0, math.nan, 3.0, 2.0, math.nan], [3, 5]),
        ([3.0, math.nan, math.nan], [1, 3]),
        ([math.nan, math.nan], [2]),
        ([-math.inf, math.nan, 0.0], [3]),
        ([math.nan, -5.0, math.inf, 1.0], [3, 4]),
    ],
)
def test_a_metric_that_is_nan_for_an_epoch(tmp_path: Path, values: list[float], kept: list[int]) -> None:
    """Lightning#2636, ray#23812: after one NaN the best was never found again. NaN is the worst, wherever it stands."""
    assert keep_one(tmp_path, 'reward', values).idxs() == kept


@pytest.mark.parametrize('given', [None, {}, {'loss': 0.5}, {'val_losses': 0.5}, {'Val_Loss': 0.5}])
def test_a_metric_that_is_not_among_those_given(tmp_path: Path, given: Any) -> None:
    """keras#16734: the metric had another name, so epoch after epoch nothing was kept. The first save is refused."""
    ckpt = objio.Checkpoint(tmp_path, keep_best=1, best_metric='val_loss')
    with pytest.raises(ValueError, match="keep_best goes by the metric 'val_loss'"):
        ckpt.save({'w': np.ones(1)}, 1, metrics=given)
    assert ckpt.idxs() == []


@pytest.mark.parametrize('value', ['0.5', None, [0.5], np.ones(2), 1j])
def test_a_metric_that_is_no_number(tmp_path: Path, value: Any) -> None:
    """ray#20267: the score of the best was not the one of its model. What cannot be compared is refused at the save."""
    ckpt = objio.Checkpoint(tmp_path, keep_best=1, best_metric='loss')
    with pytest.raises(TypeError, match=r"metrics\['loss'\]: expected"):
        ckpt.save({'w': np.ones(1)}, 1, metrics={'loss': value})
    assert ckpt.idxs() == []


def test_the_newest_of_an_overfitting_run(tmp_path: Path) -> None:
    """orbax#526: with a best function the newest saves were deleted, and the run could not go on. Both stay."""
    ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1, keep_best=2, best_metric='mean_error')
    for idx in range(1, 6):
        ckpt.save({'w': np.full(1, idx)}, idx, metrics={'mean_error': float(idx)})
    vc = tree_of(w=np.zeros(1, int))
    assert (ckpt.idxs(), ckpt.restore(vc)[0], vc.to_tree()['w'][0]) == ([1, 2, 5], 5, 5)


@pytest.mark.parametrize('again', [{'keep_best': 1, 'best_metric': 'loss'}, {}, {'keep_ckpts': None}])
def test_the_best_of_before_a_restart(tmp_path: Path, again: dict[str, Any]) -> None:
    """ART#117: the record of what is best was missing, so the best was deleted. The metrics stand in the saves themselves."""
    keep_one(tmp_path, 'loss', [0.1, 0.4]).close()
    ckpt = objio.Checkpoint(tmp_path, **{'keep_ckpts': 2, **again})
    ckpt.save({'w': np.zeros(1)}, 3, metrics={'loss': 0.5})
    if again.get('keep_best'):
        ckpt.save({'w': np.zeros(1)}, 4, metrics={'loss': 0.5})
        assert ckpt.best() == 1
    assert (1 in ckpt.idxs()) is bool(again)


def test_a_restart_with_another_metric(tmp_path: Path) -> None:
    """A run that goes on with another metric loses its old best: they cannot be compared. The log says so before it."""
    keep_one(tmp_path, 'loss', [0.1, 0.4]).close()
    with told() as heard:
        ckpt = keep_one(tmp_path / 'other', 'accuracy', [0.5])
        ckpt = objio.Checkpoint(tmp_path, keep_ckpts=1, keep_best=1, best_metric='accuracy')
        ckpt.save({'w': np.zeros(1)}, 3, metrics={'accuracy': 0.5})
    assert any('older saves' in line and "the save 2 has 'loss'" in line.replace('The', 'the') for line in heard)


def train(root: Path, name: str, values: list[float], *, metric: str = 'loss', last: bool = True) -> None:
    """A run whose model has the value of the metric as its bias, saved at each step, or at all but the last."""
    net = objio.nn.Linear(1, 1)
    with objio.Saver(net, {'nin': 1, 'nout': 1}, run=name, root=root) as saver:
        for step, value in enumerate(values, 1):
            net.b.assign(net.b.value * 0 + value)
            saver.log(step=step, **{metric: value})
            if last or step < len(values):
                saver.save()


@pytest.mark.parametrize(
    ('values', 'options', 'last', 'warned'),
    [
        ([0.1, 0.9], {'ever': True}, True, 'chosen for its loss of 0.1 at step 1, .* which had 0.9'),
        ([0.9, 0.1, 0.3], {'ever': True}, True, 'chosen for its loss of 0.1 at step 2, .* which had 0.3'),
        ([0.9, 0.1], {}, False, 'chosen for its loss of 0.1 at step 2, .* which had 0.9'),
        ([0.3, 0.1, 0.1], {'ever': True}, True, None),
        ([0.9, 0.1], {}, True, None),
        ([0.9, 0.1], {'ever': True}, True, None),
    ],
)
def test_the_model_of_the_best_run(
    tmp_path: Path, values: list[float], options: dict[str, Any], last: bool, warned: str | None
) -> None:
    """ray#10290: the score of a run and its model were of different epochs. Loading such a model warns."""
    train(tmp_path, 'a', values, last=last)
    train(tmp_path, 'b', [0.5, 0.5])
    best = objio.runs(tmp_path).best('loss', **options)
    assert best.name == 'a'
    if warned is None:
        assert float(best.load(objio.nn.Linear).b.value[0]) == pytest.approx(0.1)
        return
    with pytest.warns(UserWarning, match=warned):
        best.load(objio.nn.Linear)
    assert objio.runs(tmp_path)['a'].load(objio.nn.Linear) is not None  # chosen by its name: nothing to warn of


@pytest.mark.parametrize(('options', 'name'), [({}, 'b'), ({'ever': True}, 'a'), ({'mode': 'min'}, 'a')])
def test_the_most_of_all_steps(tmp_path: Path, options: dict[str, Any], name: str) -> None:
    """ray#45021: the best result by `max` over all steps was the least. `ever=True` goes by the best of all steps."""
    train(tmp_path, 'a', [0.1, 0.9, 0.2], metric='eval_accuracy')
    train(tmp_path, 'b', [0.5, 0.5, 0.5], metric='eval_accuracy')
    runs = objio.runs(tmp_path)
    best = runs.best('eval_accuracy', **options)
    assert best.name == name
    assert best in runs
