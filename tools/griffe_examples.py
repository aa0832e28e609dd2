"""Lets the site show the part `Example:` of a docstring as code: its parser knows only `Examples:`."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Reads `Example:` as `Examples:`."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Is called with everything that has a docstring."""
        if obj.docstring:
            obj.docstring.value = re.sub(r'^( *)Example:$', r'\1Examples:', obj.docstring.value, flags=re.MULTILINE)
