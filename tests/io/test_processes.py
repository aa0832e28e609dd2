"""Several processes of one JAX program."""

from pathlib import Path

from support_processes import run_two


def test_two_processes_save_what_they_have_and_load_their_slices(tmp_path: Path) -> None:
    """Replicated arrays are saved, spread ones refused by name, and both kinds loaded onto their shardings."""
    for status, error in run_two(tmp_path):
        assert status == 0, error
