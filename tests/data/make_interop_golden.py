"""Wrote the golden files of safetensors and msgpack: from the root, `PYTHONPATH=.:tests python tests/data/make_interop_golden.py`.

The files are kept as they are: what objio writes today is compared with them, and what others wrote must stay readable.
"""

from pathlib import Path

import safetensors.numpy
from flax import serialization
from support_interop import golden, tree_of, written

from objio.formats import msgpack
from objio.formats import safetensors as ours

HERE = Path(__file__).parent
for form, name in ((ours, 'objio.safetensors'), (msgpack, 'objio.msgpack')):
    options = {'metadata': {'note': 'é', 'objio.metrics': {'loss': 0.5}}} if form is ours else {}
    (HERE / name).write_bytes(written(form, golden(form), **options))
plain = {name: array for name, array in golden(ours).items() if not name.startswith('float4')}
(HERE / 'safetensors-0.8.0.safetensors').write_bytes(safetensors.numpy.save(plain, metadata={'note': 'é'}))
serialization.MAX_CHUNK_SIZE = 40
tree = tree_of(golden(msgpack)) | {'step': 3, 'name': 'adam', 'none': None, 'empty': {}, 'list': [1.5, 2j]}
(HERE / 'flax-0.12.8.msgpack').write_bytes(serialization.msgpack_serialize(tree))
