"""Public reports of loads that did less than they were asked for."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
from support_reports import Line, told, tree_of

import objio

Linear = objio.nn.Linear


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The name of a file to be."""
    return tmp_path / 'x.npz'


@pytest.mark.parametrize(
    ('saved', 'wanted', 'rename'),
    [
        ({'model': {'w': 1.0, 'b': 2.0}}, {'w': 0.0, 'b': 0.0}, {'model.': ''}),
        ({'w': 1.0, 'b': 2.0}, {'model': {'w': 0.0, 'b': 0.0}}, lambda name: f'model.{name}'),
        ({'module': {'enc': {'w': 1.0}}}, {'enc': {'w': 0.0}}, {'module.': ''}),
        ({'state': [{'w': 1.0}, 2.0]}, [{'w': 0.0}, 0.0], {'state.': ''}),
        ({'encoder': {'w': 1.0}}, {'enc': {'w': 0.0}}, {'encoder': 'enc'}),
    ],
)
def test_a_prefix_before_every_name(file: Path, saved: Any, wanted: Any, rename: Any) -> None:
    """pytorch/examples#1029: with `strict=False` a prefix let nothing be loaded. That is an error, whatever is allowed."""
    objio.save_var_collection(file, saved)
    with pytest.raises(objio.MismatchError, match='no array of the file has the name of a variable'):
        objio.load_var_collection(file, vc := objio.VarCollection.from_tree(wanted), allow_missing=True)
    assert vc.to_tree() == wanted
    objio.load_var_collection(file, vc, rename)
    assert jax.tree.leaves(vc.to_tree()) == jax.tree.leaves(saved)


def test_a_load_of_a_part_says_what_it_left_out(file: Path) -> None:
    """pytorch#141256: after `strict=False` nobody knew what was loaded. The report lists both sides, the log too."""
    objio.save_var_collection(file, {'model': {'w': 1.0}, 'b': 2.0})
    report = objio.load_var_collection(file, tree_of(w=0.0, b=0.0), allow_missing=True)
    assert (report.matched, report.missing, report.unused) == (('b',), ('w',), ('model.w',))
    ckpt = objio.Checkpoint(file.parent, verbose=False)
    ckpt.save({'model': {'w': 1.0}, 'b': 2.0}, 1)
    with told() as heard:
        ckpt.restore(tree_of(w=0.0, b=0.0), allow_missing=True)
    assert '1 of 2 variables are missing' in heard[-1]
    assert ckpt.report is not None
    assert ckpt.report.missing == ('w',)


@pytest.mark.parametrize('layers', [[Linear(2, 2)], [objio.functional.relu, objio.functional.relu, Linear(2, 2)]])
def test_a_layer_that_moved_in_a_sequence(file: Path, layers: list[Any]) -> None:
    """PerceptualSimilarity#143: without its dropout the layers had other numbers, and no weights. An error names them."""
    objio.save_var_collection(file, objio.nn.Sequential([objio.nn.Dropout(0.5), Linear(2, 2)]).vars())
    net = objio.nn.Sequential(layers)
    before = net[-1].w.value
    with pytest.raises(objio.MismatchError, match=r'\(Sequential\)\[1\]\(Linear\)\.w -> .* likely renamed'):
        objio.load_var_collection(file, net.vars(), allow_missing=True)
    assert net[-1].w.value is before


@pytest.mark.parametrize('folder', ['typo', 'run/ckpt', 'run/ckpt/'])
def test_a_restore_from_a_folder_without_saves(tmp_path: Path, folder: str) -> None:
    """flax#1631, objax#95: a wrong folder restored nothing, without a word. It is told; the folder of saves is refused."""
    objio.Checkpoint(tmp_path / 'run').save({'w': 1.0}, 3)
    vc = tree_of(w=0.0)
    if folder == 'typo':
        with told() as heard:
            assert objio.Checkpoint(tmp_path / folder).restore(vc) == (0, '')
        assert heard == [f'no saves in {tmp_path / folder / "ckpt"}: nothing was restored']
        with pytest.raises(FileNotFoundError, match='the folder of saves does not exist'):
            objio.Checkpoint(tmp_path / 'other', makedir=False).restore(vc)
        with pytest.raises(FileNotFoundError, match='no save 4'):
            objio.Checkpoint(tmp_path / 'run').restore(vc, idx=4)
        return
    with pytest.raises(
        ValueError, match=f"has saves itself, 0000000003.npz.* give the folder around it, '{tmp_path}/run'"
    ):
        objio.Checkpoint(f'{tmp_path}/{folder}')
    assert [path.name for path in (tmp_path / 'run/ckpt').iterdir()] == ['0000000003.npz']


@pytest.mark.parametrize('options', [{}, {'makedir': False}, {'background': True}])
def test_saves_that_were_copied_out_of_their_folder(tmp_path: Path, options: dict[str, Any]) -> None:
    """orbax#394: checkpoints that were copied were taken for unfinished ones, and deleted. The error says where they belong."""
    (tmp_path / 'best').mkdir()
    for idx in 3, 4:
        objio.save_var_collection(tmp_path / f'best/{idx:010}.npz', {'w': 1.0})
    with pytest.raises(ValueError, match=r'has saves itself, 0000000003.npz, 0000000004.npz.*move them there'):
        objio.Checkpoint(tmp_path / 'best', **options)
    (tmp_path / 'notes').mkdir()
    objio.save_var_collection(tmp_path / 'notes/weights.npz', {'w': 1.0})
    assert objio.Checkpoint(tmp_path / 'notes').idxs() == []  # other files may stand there

    class Flat(objio.Checkpoint):
        DIR_NAME = ''

    assert Flat(tmp_path / 'best').idxs() == [3, 4]


@pytest.mark.parametrize(
    'options', [{}, {'allow_missing': True}, {'cast': True}, {'allow_missing': True, 'cast': True}]
)
@pytest.mark.parametrize('shape', [(3, 2), (6,), (2, 3, 1), (1, 2, 3), (2, 2), ()])
def test_a_shape_that_differs(file: Path, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    """keras#10265: `by_name` loaded weights of another shape. A shape is never changed, whatever is allowed."""
    objio.save_var_collection(file, {'w': np.ones((2, 3)), 'b': 1.0})
    vc = tree_of(w=np.zeros(shape), b=0.0)
    with pytest.raises(objio.MismatchError, match='the shapes differ'):
        objio.load_var_collection(file, vc, **options)
    assert vc.to_tree()['b'] == 0


def test_a_layer_of_a_subclass(file: Path) -> None:
    """keras#20322: weights of a subclass of a layer were skipped, unseen. By default that is an error, with the cure."""

    class Mine(Linear):
        pass

    def net(cls: type) -> objio.ModuleList:
        return objio.ModuleList([cls(2, 2), Linear(1, 1)])

    objio.save_var_collection(file, net(Mine).vars())
    with pytest.raises(objio.MismatchError, match=r"Renamer\(\{'\(Mine\)': '\(Linear\)'\}\)"):
        objio.load_var_collection(file, net(Linear).vars())
    assert len(objio.load_var_collection(file, net(Linear).vars(), {'(Mine)': '(Linear)'}).matched) == 4


def test_names_that_begin_alike(file: Path) -> None:
    """pytorch#123510: an unexpected name that began as an expected one was not told. Whole names are compared."""
    objio.save_var_collection(file, {'head': 1.0, 'head2': 2.0, 'header': {'w': 3.0}})
    vc = tree_of(head=0.0)
    with pytest.raises(objio.MismatchError, match=r'head2[^\n]*not in the model\n[^\n]*header\.w'):
        objio.load_var_collection(file, vc, allow_unused=False)
    vc = objio.VarCollection.from_tree({'head': 0.0, 'head2': 0.0, 'header': {'w': 0.0}})
    assert objio.load_var_collection(file, vc, skip='head').matched == ('head2', 'header.w')


def test_variables_that_are_made_after_the_load(file: Path) -> None:
    """tensorflow#27937: values waited for variables that were never made. objio loads at once; the report has the rest."""

    class Late(objio.Module):
        def __init__(self) -> None:
            self.first = Linear(1, 1)

        def build(self) -> None:
            self.second = Linear(1, 1)

    whole, part = Late(), Late()
    whole.build()
    objio.save_var_collection(file, whole.vars())
    report = objio.load_var_collection(file, part.vars())
    assert report.unused == ('(Late).second(Linear).b', '(Late).second(Linear).w')
    with pytest.raises(objio.MismatchError, match='not in the model'):
        objio.load_var_collection(file, part.vars(), allow_unused=False)


@pytest.mark.parametrize(
    'target', [{'w': np.zeros(1)}, [np.zeros(1)], np.zeros(1), eqx.nn.Linear(1, 1, key=jax.random.key(0)), Linear]
)
def test_a_load_whose_result_is_thrown_away(file: Path, target: Any) -> None:
    """flax#3570: the restored state was returned, and the old one used on. Only what can be filled is a target.

    A collection that is made in the call and kept nowhere is filled, and objio cannot see that nobody looks at it.
    """
    objio.save_var_collection(file, {'w': np.ones(1)})
    with pytest.raises(TypeError, match='from_tree|make an instance'):
        objio.load_var_collection(file, target)
    with pytest.raises(TypeError, match='from_tree|make an instance'):
        objio.Checkpoint(file.parent).restore(target)
    tree = {'w': np.zeros(1)}
    assert objio.load_var_collection(file, objio.VarCollection.from_tree(tree)).matched == ('w',)
    assert tree['w'] == 0


def test_an_option_of_another_library(tmp_path: Path) -> None:
    """keras#21404: an option was not respected. One that there is not is an error, at each verb, before the file."""
    ckpt = objio.Checkpoint(tmp_path)
    ckpt.save({'w': 1.0}, 1)
    with pytest.raises(TypeError, match="no parameter 'strict'"):
        ckpt.restore(tree_of(w=0.0), strict=False)
    with pytest.raises(TypeError, match='strict'):
        objio.load_var_collection(tmp_path / 'none.npz', tree_of(w=0.0), strict=False)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no parameter 'strict'"):
        Line(tmp_path / 'm').load(strict=False)


def test_a_checkpoint_with_more_than_the_model(file: Path) -> None:
    """orbax#487: a checkpoint with one item more could not be restored. What the model lacks is left alone, and listed."""
    objio.save_var_collection(file, {'params': 1.0, 'opt': 2.0, 'last_batch': np.ones(9)})
    vc = tree_of(params=0.0, opt=0.0)
    assert objio.load_var_collection(file, vc).unused == ('last_batch',)
    assert vc.to_tree() == {'params': 1.0, 'opt': 2.0}
