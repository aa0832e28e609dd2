"""Reads the code blocks of a Markdown page and runs them one after the other, as a reader would."""

import contextlib
import doctest
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from types import ModuleType

_FENCE = re.compile(
    r'^(?P<indent> *)```(?P<language>\S*)[^\n]*\n(?P<body>.*?)^(?P=indent)```[ ]*$', re.MULTILINE | re.DOTALL
)
_REMARK = re.compile(r'<!-- (?P<word>output|not run)(: (?P<reason>.+?))? -->\s*\Z', re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    line: int  # of its first line of code, counted from 1
    language: str
    code: str
    is_output: bool  # `<!-- output -->` stands before it: what the code before it prints
    not_run: str | None  # the reason in `<!-- not run: reason -->` before it


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for fence in _FENCE.finditer(text):
        remark = _REMARK.search(text[: fence.start()])
        word, reason = (remark['word'], remark['reason']) if remark else ('', None)
        yield Block(
            line=text.count('\n', 0, fence.start('body')) + 1,
            language=fence['language'],
            code=dedent(fence['body']),
            is_output=word == 'output',
            not_run=(reason or '') if word == 'not run' else None,
        )


def run(path: Path) -> int:
    """Runs the Python of a page in one namespace and compares what it prints; gives the number of blocks run.

    Raises:
        AssertionError: something else was printed than the page shows.
    """
    # A module of its own, so that classes of the page can be pickled.
    module = ModuleType(f'page_{path.stem}')
    sys.modules[module.__name__] = module
    count, printed = 0, ''
    try:
        for block in blocks(path.read_text(encoding='utf-8')):
            if block.language == 'python' and block.not_run is None:
                # The empty lines make a traceback point into the page.
                program = compile('\n' * (block.line - 1) + block.code, str(path), 'exec')
                output = io.StringIO()
                with contextlib.redirect_stdout(output):
                    exec(program, vars(module))
                count, printed = count + 1, output.getvalue()
            elif block.is_output and not doctest.OutputChecker().check_output(block.code, printed, doctest.ELLIPSIS):
                raise AssertionError(f'{path}:{block.line} shows\n{block.code}\nbut the code prints\n{printed}')
    finally:
        del sys.modules[module.__name__]
    return count
