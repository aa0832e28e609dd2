"""A Checkpoint that keeps its saves as safetensors or msgpack: nothing else is other than with npz."""

import logging
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from flax import serialization
from support_checkpoint import cut, fill, model, names, value_of

import objio


class Safetensors(objio.Checkpoint):
    """Saves that everybody reads."""

    FILE_MATCH = '*.safetensors'
    FILE_FORMAT = '%010d.safetensors'


class Msgpack(objio.Checkpoint):
    """Saves that Flax reads."""

    FILE_MATCH = '*.msgpack'
    FILE_FORMAT = '%010d.msgpack'


KINDS = [Safetensors, Msgpack]


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('background', [False, True])
def test_saves_are_kept_restored_and_averaged(kind: type[objio.Checkpoint], background: bool, tmp_path: Path) -> None:
    """Retention, restore and average work by the names of the saves; files of another format are none of them."""
    with kind(tmp_path, keep_ckpts=2, keep_every=2, background=background) as ckpt:
        np.savez(tmp_path / 'ckpt' / '0000000009.npz', w=np.ones(1))
        fill(ckpt, 1, 2, 3, 4, 5)
        assert ckpt.idxs() == [2, 4, 5]
        vc = model()
        suffix = kind.FILE_FORMAT[5:]
        assert ckpt.restore(vc) == (5, str(tmp_path / 'ckpt' / f'0000000005{suffix}'))
        assert value_of(vc) == 5
        assert ckpt.restore(vc, idx=2)[0] == 2
        assert value_of(vc) == 2
        assert ckpt.average(vc, idxs=[2, 4]) == [2, 4]
        assert vc.named_tensors()['w'][0, 0] == 3
    assert '0000000009.npz' in names(tmp_path / 'ckpt')


@pytest.mark.parametrize('kind', KINDS)
def test_damaged_saves_are_passed_over(
    kind: type[objio.Checkpoint], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A save that was cut short is told and passed over."""
    ckpt = kind(tmp_path)
    fill(ckpt, 1, 2, 3)
    cut(tmp_path / 'ckpt' / (kind.FILE_FORMAT % 3))
    vc = model()
    assert ckpt.restore(vc)[0] == 2
    assert value_of(vc) == 2
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1
    with pytest.raises(objio.FormatError):
        ckpt.restore(vc, idx=3)


def test_the_best_saves_stay_with_safetensors(tmp_path: Path) -> None:
    """Metrics stand in the save, so that a new process knows the best; NaN is worst."""
    options = {'keep_ckpts': 1, 'keep_best': 1, 'best_metric': 'loss'}
    ckpt = Safetensors(tmp_path, **options)
    for idx, loss in [(1, 0.5), (2, 0.1), (3, float('nan')), (4, 0.3)]:
        ckpt.save(model(idx), idx, metrics={'loss': loss}, metadata={'note': f'epoch {idx}'})
    again = Safetensors(tmp_path, **options)
    assert (again.idxs(), again.best()) == ([2, 4], 2)
    with objio.open(tmp_path / 'ckpt' / '0000000002.safetensors') as saved:
        assert saved.metadata == {'note': 'epoch 2', 'objio.metrics': {'loss': 0.1}}


def test_metrics_are_refused_with_msgpack(tmp_path: Path) -> None:
    """The format has no place for them: the error comes before anything is written."""
    ckpt = Msgpack(tmp_path, keep_best=1, best_metric='loss')
    with pytest.raises(TypeError, match='msgpack has no place for metadata'):
        ckpt.save(model(1), 1, metrics={'loss': 0.5})
    assert names(tmp_path / 'ckpt') == []


def test_the_saves_are_those_of_the_libraries(tmp_path: Path) -> None:
    """What a Checkpoint wrote in the background, the real libraries read."""
    for kind in KINDS:
        with kind(tmp_path, background=True) as ckpt:
            fill(ckpt, 7)
    found = safetensors.numpy.load_file(tmp_path / 'ckpt' / '0000000007.safetensors')
    restored = serialization.msgpack_restore((tmp_path / 'ckpt' / '0000000007.msgpack').read_bytes())
    assert {name: array.tolist() for name, array in found.items()} == {
        n: array.tolist() for n, array in restored.items()
    }
