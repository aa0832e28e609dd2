"""Everything on the site and in README.md that looks like Python is run, page by page."""

import re
from pathlib import Path

import jax
import pytest
import support_pages

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
WITH_CODE = [page for page in PAGES if '```python' in page.read_text(encoding='utf-8')]

# The blocks that stay out, by page, with the reason that stands before each.
NOT_RUN: dict[str, list[str]] = {}


def name(page: Path) -> str:
    """The page as people call it."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize('page', WITH_CODE, ids=name)
def test_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page run in order in an empty folder, and print what the page says they print."""
    monkeypatch.chdir(tmp_path)
    # A page is a user's program, and that runs with JAX's defaults; optax cannot do without them.
    with jax.numpy_dtype_promotion('standard'), jax.numpy_rank_promotion('allow'):
        assert support_pages.run(page) > 0


def test_what_does_not_run_says_why() -> None:
    """Each block that stays out carries a reason, and all of them are listed here."""
    found: dict[str, list[str]] = {}
    for page in PAGES:
        for block in support_pages.blocks(page.read_text(encoding='utf-8')):
            if block.not_run is not None:
                found.setdefault(name(page), []).append(block.not_run)
    assert found == NOT_RUN
    assert all(reason for reasons in found.values() for reason in reasons)


def test_no_example_of_a_docstring_is_skipped() -> None:
    """Every `>>>` in objio runs under doctest."""
    skips = [str(path) for path in (ROOT / 'objio').rglob('*.py') if '+SKIP' in path.read_text(encoding='utf-8')]
    assert skips == []


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_blocks_are_called_by_their_language(page: Path) -> None:
    """Each block names its language, so that no Python hides from the test that runs it."""
    languages = {block.language for block in support_pages.blocks(page.read_text(encoding='utf-8'))}
    assert languages <= {'python', 'text', 'sh', 'toml'}


def test_links_of_the_readme_lead_somewhere() -> None:
    """Each relative link of README.md names a file of the project."""
    links = re.findall(r'\]\((?!http)([^)#]+)', (ROOT / 'README.md').read_text(encoding='utf-8'))
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_a_wrong_output_is_seen(tmp_path: Path) -> None:
    """The comparison of what a page prints can fail, and says where."""
    page = tmp_path / 'wrong.md'
    page.write_text('# x\n\n```python\nprint(1 + 1)\n```\n\n<!-- output -->\n```text\n3\n```\n', encoding='utf-8')
    with pytest.raises(AssertionError, match=r'wrong\.md:9 shows\n3\n\nbut the code prints\n2'):
        support_pages.run(page)


def test_a_traceback_points_into_the_page(tmp_path: Path) -> None:
    """A block that fails names the line of the page; blocks in a list and blocks left out are told apart."""
    page = tmp_path / 'bad.md'
    page.write_text(
        '<!-- not run: it needs a cluster -->\n```python\nraise SystemExit\n```\n\n'
        '1. Then\n\n    ```python\n    a = 1\n    a / 0\n    ```\n',
        encoding='utf-8',
    )
    with pytest.raises(ZeroDivisionError) as failure:
        support_pages.run(page)
    assert (failure.traceback[-1].path, failure.traceback[-1].lineno + 1) == (page, 10)
