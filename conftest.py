import os
import signal

import pytest

# Before anything imports JAX, and for the processes that tests start: one platform, and no silent promotion.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('JAX_NUMPY_DTYPE_PROMOTION', 'strict')
os.environ.setdefault('JAX_NUMPY_RANK_PROMOTION', 'raise')

# A shell starts what runs in its background deaf to Ctrl-C, and every process inherits that; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _doctest_folder(request: pytest.FixtureRequest) -> None:
    """The examples of docstrings write their files into a folder of their own."""
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch = request.getfixturevalue('monkeypatch')
        monkeypatch.chdir(request.getfixturevalue('tmp_path'))
