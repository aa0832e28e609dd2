"""How sizes and paddings of windows over images are written, for poolings and convolutions alike."""

Size = int | tuple[int, int]
Padding = str | int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]]


def pair(size: Size) -> tuple[int, int]:
    """One number for height and width, or both.

    Example:
        >>> pair(3), pair((2, 5))
        ((3, 3), (2, 5))
    """
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def pixels(padding: Padding) -> str | list[tuple[int, int]]:
    """What is added around an image before a window sweeps it, as JAX takes it.

    Args:
        padding: 'SAME' or 'VALID'; one number of pixels for all four sides; (before, after) for both directions; or
            ((top, bottom), (left, right)).

    Returns:
        'SAME', 'VALID', or [(top, bottom), (left, right)].

    Raises:
        ValueError: it is a str other than these two.

    Example:
        >>> pixels('same'), pixels(1), pixels((0, 1))
        ('SAME', [(1, 1), (1, 1)], [(0, 1), (0, 1)])
    """
    if isinstance(padding, str):
        if padding.upper() not in ('SAME', 'VALID'):
            raise ValueError(f"padding: expected 'SAME', 'VALID' or numbers of pixels, found {padding!r}")
        return padding.upper()
    if isinstance(padding, int):
        return [(padding, padding)] * 2
    first, second = padding
    if isinstance(first, int) and isinstance(second, int):
        return [(first, second)] * 2
    return [pair(first), pair(second)]
