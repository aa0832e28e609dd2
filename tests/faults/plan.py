"""The plan: what is proven, and the least count that a full run must reach for each row."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One row of the table of figures.

    Attributes:
        key: what a test names in `@pytest.mark.proves(key)`.
        proof: what was done, for a reader.
        unit: what is counted.
        least: how many of them a full run must count.
        promise: what held every time, or the test had failed.
    """

    key: str
    proof: str
    unit: str
    least: int
    promise: str


_WHOLE = 'no acknowledged save lost, no unreadable state'
_CLEAN = 'old file intact, no litter, the next save succeeds'
_SEEN = 'each a `FormatError` or bit-identical'

PLAN = [
    Row('kill-calls', 'kill -9 at every system call of a save', 'kills', 2_000, _WHOLE),
    Row('kill-random', 'kill -9 of a saving process at random moments', 'kills', 500, _WHOLE),
    Row('kill-models', 'kill -9 at every system call of a model\'s save', 'kills', 1_000, 'settings and weights of one save, whole'),
    Row('kill-shards', 'kill -9 at every system call of a save in shards with an index', 'kills', 200, 'the shards of one save, whole'),
    Row('kill-runs', 'kill -9 at every system call of a run\'s life', 'kills', 250, 'all that was acknowledged is there; the run goes on'),
    Row('interrupts', 'Ctrl-C during every system call of a save', 'interrupts', 100, 'old file or new one, whole; the next save succeeds'),
    Row('errors', 'ENOSPC, EIO, EDQUOT, EFBIG at every call, once and for ever', 'errors', 112, _CLEAN),
    Row('short-writes', 'writes that accept a part of what they are given', 'short writes', 100, 'the file is right'),
    Row('full-disks', 'disks that are really full, of bytes and of inodes', 'saves', 100, _CLEAN),
    Row('paused', 'a writer stopped, or waiting for a slow disk, in the middle of a save', 'pauses', 10, 'readers never wait, and read the old file'),
    Row('cuts-ext4', 'power cuts on ext4, at random, at once and after 7 seconds', 'cuts', 200, _WHOLE),
    Row('cuts-xfs', 'power cuts on XFS, at random, at once and after 7 seconds', 'cuts', 100, _WHOLE),
    Row('truncations', 'files cut at every byte', 'files', 10_000, 'each a `FormatError`'),
    Row('bits', 'every single bit of small files flipped', 'flips', 50_000, _SEEN),
    Row('flips', 'random bits of a 10 MB file flipped', 'flips', 200_000, _SEEN),
    Row('edits', 'bytes inserted, deleted, swapped, zeroed, doubled', 'edits', 100_000, _SEEN),
    Row('fuzz', 'files changed knowing their structure, checksums made right again', 'inputs', 500_000, 'success or `FormatError`, under 200 MB and 0.5 s'),
    Row('atheris', 'files grown by coverage (atheris)', 'inputs', 500_000, 'success or `FormatError`, under 200 MB and 0.5 s'),
    Row('bombs', 'bombs: deflate, overlap, header, shape, alias loops', 'files', 10, 'refused within 2 × the file + 10 MB'),
    Row('lies', 'manifests that lie: a million entries, huge metadata, duplicate keys, NaN, lone surrogates', 'files', 10, 'refused within 16 × the manifest + 10 MB'),
    Row('one-path', '4 writers and 4 readers of one path', 'saves', 2_000, 'no error, every read uniform'),
    Row('one-folder', '2 savers, 2 restorers and a pruner in one directory', 'seconds', 60, 'no error, every restore uniform'),
    Row('machine', 'runs of 50 steps against a model: save, restore, prune, kill, damage, truncate', 'runs', 1_000, 'what the model says'),
    Row('background', 'background saves whose arrays are donated or changed right after', 'saves', 1_000, 'each file holds the values at the call'),
    Row('good-loads', 'loads of whole files', 'loads', 1_000, 'descriptors and memory as before'),
    Row('bad-loads', 'loads of damaged files', 'loads', 1_000, 'descriptors and memory as before'),
    Row('controls', 'the same faults against recipes that lack a step (Objax\'s, no sync, one temporary name)', 'recipes', 3, 'each of them loses something: the harness can see'),
    Row('guards', 'guards of objio removed, one at a time', 'guards', 200, 'each turns some test red'),
]  # fmt: skip
"""Every row of the table, in order."""

ROWS = {row.key: row for row in PLAN}


@dataclass(frozen=True)
class Beside:
    """One cell of the table beside other libraries: what a library did under a fault that objio stands."""

    fault: str
    library: str
    outcome: str
