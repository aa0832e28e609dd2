"""Wrote objio-npz-1.npz: from the root, `PYTHONPATH=.:tests python tests/data/make_golden.py`.

The file is kept as it is: the test that compares it with what is written today fails on any change of the format.
"""

from pathlib import Path

from support_formats import MemorySink, encoded
from support_golden import content

sink = MemorySink()
encoded(*content()).write(sink)
Path(__file__).with_name('objio-npz-1.npz').write_bytes(sink.value())
