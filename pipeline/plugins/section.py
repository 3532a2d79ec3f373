"""Base class of the groups of parameters, and types of their fields."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializationInfo,
    field_validator,
)

from pipeline.errors import shown

# Every number has a ceiling far above useful values: a typing error such as 2**40 views is an error
# message, not a computation without end. Seeds have the range of NumPy's generators.
PositiveInt = Annotated[int, Field(ge=1, le=1_000_000)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegativeFloat = Annotated[float, Field(ge=0, le=1e6)]
PositiveFloat = Annotated[float, Field(gt=0, le=1e6)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _hide_in_public(value: str, info: SerializationInfo) -> str:
    return HIDDEN if info.context == _PUBLIC else value


HIDDEN = "(local)"
"""What ``Section.public`` shows in place of a ``LocalText``."""

_PUBLIC = {"public": True}

LocalText = Annotated[str, PlainSerializer(_hide_in_public)]
"""A path, a host name, or another text that may name a person or a machine."""


_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


class Section(BaseModel):
    """A group of parameters: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_text(cls, value: object) -> object:
        """Refuses what YAML can escape, but no file name and no UTF-8 text can hold."""
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and _NOT_TEXT.search(text):
                raise ValueError(f"{shown(text)} has a character that no file name can have")
        return value

    def public(self) -> dict[str, Any]:
        """The values for files that leave this machine: every ``LocalText`` is hidden."""
        return self.model_dump(context=_PUBLIC)
