"""Refusal of a name that nothing has, with the names that come near."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def one_of(name: str, known: Iterable[str], what: str) -> str:
    """Gives the name back if it is known.

    Args:
        name: As the user wrote it.
        known: All names there are.
        what: What bears such a name, for the message.

    Raises:
        ValueError: It is not known; says which names come near, or all of them.
    """
    known = list(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"close names: {', '.join(near)}" if near else f"known: {', '.join(known)}"
        raise ValueError(f"{name!r} is no {what} ({hint})")
    return name
