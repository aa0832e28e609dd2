"""Names turned into other names: to load a file whose model was called differently."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

Replacement = str | Callable[[re.Match[str]], str]
Rules = Mapping[str, str] | Sequence[tuple[str | re.Pattern[str], Replacement]] | Callable[[str], str]


class Renamer:
    r"""A function from names to names.

    Args:
        rules: one of
            a dict: each key, wherever it stands in a name, gives way to its value (of two keys that fit at the same
            place the first one in the dict);
            a list of pairs (pattern, replacement): `re.sub` with each, in order; a replacement is a str or, as there,
            a function of the match;
            a callable: name -> new name.
        chain: another renamer, which gets the names this one made.

    Raises:
        TypeError: `rules` is none of these.
        ValueError: a dict has the empty string as a key, which stands everywhere.

    Example:
        >>> Renamer({'(Net)': '(Model)'})('(Net).w')
        '(Model).w'
        >>> import re
        >>> Renamer([(re.compile(r'layer(\d+)'), r'block[\1]')], Renamer(str.upper))('layer3.w')
        'BLOCK[3].W'
    """

    _rename: Callable[[str], str]

    def __init__(self, rules: Rules, chain: Callable[[str], str] | None = None) -> None:
        if isinstance(rules, Mapping):
            if '' in rules:
                raise ValueError("Renamer: '' is a key of the dict, but an empty string stands everywhere in a name")
            self._words = dict(rules)
            self._pattern = re.compile('|'.join(map(re.escape, rules)))
            self._rename = self._by_words if rules else str
        elif callable(rules):
            self._rename = rules
        elif isinstance(rules, (list, tuple)):
            self._pairs = [(re.compile(pattern), replacement) for pattern, replacement in rules]
            self._rename = self._by_patterns
        else:
            raise TypeError(
                'Renamer: expected a dict, a list of (pattern, replacement) pairs or a callable, '
                f'found {type(rules).__name__}'
            )
        self.chain = chain

    def __call__(self, name: str) -> str:
        """The new name for a name."""
        new = self._rename(name)
        return self.chain(new) if self.chain is not None else new

    def _by_words(self, name: str) -> str:
        return self._pattern.sub(lambda found: self._words[found.group()], name)

    def _by_patterns(self, name: str) -> str:
        for pattern, replacement in self._pairs:
            name = pattern.sub(replacement, name)
        return name


def renamed(names: Iterable[str], renamer: Rules | None) -> dict[str, str]:
    """Renames many names at once and sees to it that none is lost.

    Args:
        names: the old names, each once.
        renamer: a `Renamer`, what makes one, or None to keep the names.

    Returns:
        Old name -> new name, in the order of `names`.

    Raises:
        TypeError: the renamer gave something that is no str.
        ValueError: two names became one.

    Example:
        >>> renamed(['a.w', 'b.w'], {'a.': 'x.'})
        {'a.w': 'x.w', 'b.w': 'b.w'}
        >>> renamed(['a.w', 'b.w'], [('^.', 'x')])
        Traceback (most recent call last):
        ValueError: the renamer gives both 'a.w' and 'b.w' the name 'x.w'; every name needs one of its own
    """
    if renamer is None:
        return {name: name for name in names}
    call = renamer if isinstance(renamer, Renamer) else Renamer(renamer)
    olds: dict[str, str] = {}
    for old in names:
        new = call(old)
        if not isinstance(new, str):
            raise TypeError(f'the renamer gave {new!r} for {old!r}; expected a str')
        if new in olds:
            raise ValueError(
                f'the renamer gives both {olds[new]!r} and {old!r} the name {new!r}; every name needs one of its own'
            )
        olds[new] = old
    return {old: new for new, old in olds.items()}
