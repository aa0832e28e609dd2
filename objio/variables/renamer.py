"""Names turned into other names: to load a file whose model was called differently."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from objio.variables.name_filter import Unmatched
from objio.variables.rename_rules import Function, Pairs, Replacement, Words

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

    def __init__(self, rules: Rules, chain: Callable[[str], str] | None = None) -> None:
        self._rename: Renamer | Words | Pairs | Function
        if isinstance(rules, Mapping):
            self._rename = Words(rules)
        elif callable(rules):
            self._rename = rules if isinstance(rules, Renamer) else Function(rules)
        elif isinstance(rules, (list, tuple)):
            self._rename = Pairs(rules)
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

    def unmatched(self, names: Collection[str]) -> Unmatched:
        """The rules that fit none of some names, those of chained renamers among them.

        A key of a dict is a literal name. It fits where it is replaced, a pattern where it is found, a callable where
        it changes a name. Each renamer of a chain is judged by the names that it is given.

        Args:
            names: all the names there are; what was perhaps meant is looked for among them, too.

        Example:
            >>> found = Renamer({'encodr': 'enc'}, Renamer([('^dec', 'd')])).unmatched(['encoder.w'])
            >>> found.literals, found.others
            ({"renamer={'encodr': 'enc'}": " (did you mean 'encoder'?)"}, ("renamer=('^dec', 'd')",))
        """
        if type(self).__call__ is not Renamer.__call__:  # a subclass has rules of its own
            return Function(self).unmatched(names)
        found = self._rename.unmatched(names)
        if self.chain is None:
            return found
        chain = self.chain if isinstance(self.chain, Renamer) else Function(self.chain)
        further = chain.unmatched([self._rename(name) for name in names])
        return Unmatched(found.literals | further.literals, found.others + further.others)


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
