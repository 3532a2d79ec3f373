"""Names that folders and tables give to their splits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pipeline.data.sources.base import SplitName

SplitRole = Literal["train", "val", "test", "unlabeled"]

_WORDS: dict[SplitRole, str] = {
    "train": "train|training|trainval|trn|trainieren|训练",
    "val": "val|vali|valid|validate|validation|validieren|validierung|dev|eval|evaluation|验证",
    "test": r"test|testing|tests|testen|tst|hold[\W_]?out|held[\W_]?out|测试",
    "unlabeled": "pred|predict|prediction|predictions|unlabell?ed",
}
_FILLERS = (
    "data|sets?|split|part|subset|folder|dir|images?|imgs?|photos?|pictures?|pics?|samples?|files?"
    r"|original|raw|new|final|resized|cropped|mini|small|full|seg|the|集|\d"
)
_ANY_FILLERS = rf"(?:{_FILLERS}|[\W_])*"
_ROLES: tuple[tuple[SplitRole, re.Pattern[str]], ...] = tuple(
    (role, re.compile(f"{_ANY_FILLERS}(?:{words}){_ANY_FILLERS}")) for role, words in _WORDS.items()
)


def split_of(name: str) -> SplitName | None:
    """The split that a name in common use stands for, in any case and with filler words.

    Examples:
        >>> split_of("Training_set"), split_of("valid"), split_of("TestImages"), split_of("tram")
        ('train', 'val', 'test', None)
    """
    role = _role_of(name)
    return None if role == "unlabeled" else role


def is_filler(name: str) -> bool:
    """Whether a name says nothing about the content, such as ``images`` or ``Data_set``."""
    return re.fullmatch(_ANY_FILLERS, name.casefold()) is not None


def roles_of(names: Sequence[str]) -> list[SplitRole | None]:
    """What each of several sibling folders holds; None for a name that is not one of a split.

    Words that all names share are left out if all others then are names of splits, as in
    ``birds_train`` and ``birds_test``.
    """
    roles = [_role_of(name) for name in names]
    if all(roles) or len(names) < 2:
        return roles
    words = [re.split(r"[\W_]+", name) for name in names]
    shared = set.intersection(*map(set, words))
    bare = [_role_of(" ".join(word for word in each if word not in shared)) for each in words]
    return bare if all(bare) else roles


def _role_of(name: str) -> SplitRole | None:
    folded = name.casefold()
    return next((role for role, words in _ROLES if words.fullmatch(folded)), None)
