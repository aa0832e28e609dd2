"""Every row about loading, checkpoints and code of the page "Errors and cures" is provoked: the error it names comes, and nothing else changes."""

import io
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support_errors import Page, make_world, tree

import objio

PAGE = Page('Loading', 'Checkpoints', 'In the code')
case = PAGE.case


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    return make_world(tmp_path, monkeypatch)


@case('a file that is not there')
def _(w: Any) -> None:
    objio.load_var_collection('nowhere.npz', w.vc)


@case('a folder that is no Orbax checkpoint and has no index of shards')
def _(w: Any) -> None:
    objio.load_var_collection('folder', w.vc)


@case('an empty or truncated file, or one with changed bytes')
def _(w: Any) -> None:
    objio.load_var_collection('cut.npz', w.vc)


@case('a file of another kind')
def _(w: Any) -> None:
    objio.load_var_collection('notes.npz', w.vc)


@case('names that the file lacks')
def _(w: Any) -> None:
    objio.load_var_collection('net.npz', w.vc + tree(more=jnp.ones(2)))


@case('names that the model lacks, with allow_unused=False')
def _(w: Any) -> None:
    objio.load_var_collection('net.npz', objio.VarCollection({'(Linear).b': w.net.b}), allow_unused=False)


@case('another shape')
def _(w: Any) -> None:
    objio.load_var_collection('net.npz', objio.nn.Linear(4, 2).vars())


@case('another dtype')
def _(w: Any) -> None:
    other = objio.nn.Linear(3, 2)
    other.w.assign(other.w.value.astype(jnp.bfloat16), check=False)
    objio.load_var_collection('net.npz', other.vars())


@case('names that a renamer makes equal')
def _(w: Any) -> None:
    objio.load_var_collection('net.npz', w.vc, lambda name: '(Linear).w')


@case('one tied variable, several different arrays for it')
def _(w: Any) -> None:
    np.savez('untied.npz', a=np.zeros(2, 'f4'), b=np.ones(2, 'f4'))
    variable = objio.TrainVar(jnp.ones(2))
    try:
        objio.load_var_collection('untied.npz', objio.VarCollection({'a': variable, 'b': variable}))
    finally:
        os.remove('untied.npz')


@case(
    'cast=True with a value that the other dtype cannot hold: an integer that is too large, '
    'a float that would become infinite or NaN'
)
def _(w: Any) -> None:
    file = io.BytesIO()
    objio.save_var_collection(file, tree(w=np.float64([1, 1e300])))
    objio.load_var_collection(file, tree(w=jnp.zeros(2)), cast=True)


@case('a file with arrays of which nothing would be loaded, also with allow_missing=True')
def _(w: Any) -> None:
    objio.load_var_collection('net.npz', tree(w=jnp.zeros(2)), allow_missing=True)


@case('a renamer that makes a name near that of a missing variable, with allow_missing=True')
def _(w: Any) -> None:
    file = io.BytesIO()
    objio.save_var_collection(file, {'weight': w.net.w.value, '(Linear).b': w.net.b.value})
    objio.load_var_collection(file, w.vc, {'weight': '(Linear).ww'}, allow_missing=True)


@case('a list for renamer= with something else than pairs, a dict with something else than text')
def _(w: Any) -> None:
    with pytest.raises(TypeError, match='from str to str'):
        objio.Renamer({'w': None})  # type: ignore[dict-item]
    objio.load_var_collection('net.npz', w.vc, [objio.Renamer({'w': 'w'})])  # type: ignore[list-item]


@case('a literal name in only=, skip= or a dict for renamer= that matches nothing')
def _(w: Any) -> None:
    objio.load_var_collection('net.npz', w.vc, skip='(Liner)', renamer={'weight': 'w'})


@case('a pattern or a function that matches nothing')
def _(w: Any) -> None:
    objio.load_var_collection('net.npz', w.vc, skip=re.compile('bias'))


@case("only= that chooses none of the model's variables")
def _(w: Any) -> None:
    objio.load_var_collection('net.npz', w.vc, only='(Liner)')


@case('a class, a path or a dict of plain arrays in the place of variables')
def _(w: Any) -> None:
    for subject in [objio.nn.Linear, 'net.npz', {'w': jnp.ones(2)}]:
        with pytest.raises(TypeError, match='expected'):
            objio.load_var_collection('net.npz', subject)
    objio.save_var_collection('new.npz', 'net.npz')


@case('a pickle, without trusted=True')
def _(w: Any) -> None:
    objio.load_module('net.pickle', trusted=False)


@case('a save below the newest one')
def _(w: Any) -> None:
    w.ckpt.save(w.vc, idx=1)


@case('a save in the background failed')
def _(w: Any) -> None:
    def fail(file: str, vc: objio.VarCollection) -> None:
        raise OSError('the disk is gone')

    class Failing(objio.Checkpoint):
        SAVE_FN = staticmethod(fail)

    ckpt = Failing('run', background=True, verbose=False)
    ckpt.save(w.vc, idx=3)
    ckpt.wait()


@case('restore(idx=…) of a save that is damaged')
def _(w: Any) -> None:
    Path('run/ckpt/0000000002.npz').write_bytes(w.data[:-1])
    w.ckpt.restore(w.vc, idx=2)


@case('every save is damaged')
def _(w: Any) -> None:
    for path in ['run/ckpt/0000000001.npz', 'run/ckpt/0000000002.npz']:
        Path(path).write_bytes(w.data[:-1])
    w.ckpt.restore(w.vc)


@case('a restore with allow_missing=True that left variables as they were')
def _(w: Any) -> None:
    w.ckpt.restore(objio.nn.Linear(3, 2).vars() + tree(more=jnp.ones(2)), allow_missing=True)


@case('no save at all')
def _(w: Any) -> None:
    assert objio.Checkpoint('new', makedir=True, verbose=False).restore(w.vc) == (0, '')


@case('a logdir that has saves itself')
def _(w: Any) -> None:
    objio.Checkpoint('run/ckpt')


@case('a best_metric whose name does not tell what is best')
def _(w: Any) -> None:
    objio.Checkpoint('new', best_metric='accuracy_loss')


@case('a save without the metric that keep_best goes by')
def _(w: Any) -> None:
    objio.Checkpoint('run', keep_best=1, best_metric='val_loss').save(w.vc, idx=3, metrics={'valid_loss': 0.1})


@case('keep_ckpts=0, an index that is negative or no int')
def _(w: Any) -> None:
    for idx in [1.5, True]:
        with pytest.raises(TypeError):
            w.ckpt.save(w.vc, idx=idx)
    with pytest.raises(ValueError, match='-1'):
        w.ckpt.save(w.vc, idx=-1)
    objio.Checkpoint('run', keep_ckpts=0)


@case('var.assign(x) of another shape or dtype')
def _(w: Any) -> None:
    w.net.b.assign(jnp.ones(5))


@case('vc.assign(tensors) with names missing or unknown')
def _(w: Any) -> None:
    w.vc.assign({'b': jnp.ones(2)})


@case('a variable assigned inside jax.jit without pure')
def _(w: Any) -> None:
    jax.jit(w.net.b.assign)(jnp.ones(2))


@case('two variables under one name')
def _(w: Any) -> None:
    w.vc + objio.nn.Linear(3, 2).vars()


@case('a file object in text mode')
def _(w: Any) -> None:
    with open('net.npz') as file:
        objio.load_var_collection(file, w.vc)


def test_every_row_is_provoked() -> None:
    """The page and the cases above agree row by row."""
    assert set(PAGE.rows) == set(PAGE.cases)


@pytest.mark.parametrize('row', PAGE.cases)
def test_a_bad_input_gives_the_error_of_the_page(row: str, world: SimpleNamespace) -> None:
    """The error is the one that the page names, with a message; the model and the files are as they were."""
    PAGE.check(row, world)
