"""Lists of names in messages."""

from collections.abc import Iterable


def quoted(names: Iterable[str], limit: int = 6) -> str:
    """The names in quotes; of many, only the first.

    Examples:
        >>> quoted(["a", "b", "c"], limit=2)
        "'a', 'b' and 1 more"
    """
    listed = [repr(name) for name in names]
    more = len(listed) - limit
    return ", ".join(listed[:limit]) + (f" and {more} more" if more > 0 else "")
