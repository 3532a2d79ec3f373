"""``options_of`` reads types, limits, defaults and descriptions."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from pipeline.plugins.options import options_of
from pipeline.plugins.section import HIDDEN, LocalText


class Example:
    """An example.

    Args:
        size: Not an option: positional.
        rate: A rate,
            in hertz.
        kind: One of two.
        context: Given by the caller.
    """

    def __init__(
        self,
        size: int,
        *,
        rate: Annotated[float, Field(gt=0)] = 2.0,
        kind: Literal["a", "b"] = "a",
        context: object = None,
    ) -> None:
        self.size = size


def test_fields_come_from_the_keyword_only_arguments() -> None:
    options = options_of(Example, "example", exclude={"context"})
    assert options().model_dump() == {"rate": 2.0, "kind": "a"}
    assert options.model_fields["rate"].description == "A rate, in hertz."


class Derived(Example):
    """A class with other options.

    Args:
        kind: Its own description.
    """

    def __init__(self, *, rate: float = 1.0, kind: str = "b") -> None:
        super().__init__(1, rate=rate)


def test_descriptions_are_inherited_unless_overridden() -> None:
    fields = options_of(Derived, "derived").model_fields
    descriptions = {name: field.description for name, field in fields.items()}
    assert descriptions == {"rate": "A rate, in hertz.", "kind": "Its own description."}


@pytest.mark.parametrize("values", [{"rate": 0.0}, {"kind": "c"}, {"size": 1}, {"rate": "2"}])
def test_limits_and_types_are_checked(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        options_of(Example, "example", exclude={"context"}).model_validate(values)


def test_an_option_without_description_is_refused() -> None:
    def undocumented(*, rate: float = 1.0) -> None:
        """No arguments are described."""

    with pytest.raises(TypeError, match="rate needs a default and a description"):
        options_of(undocumented, "undocumented")


def test_an_option_can_be_hidden_from_what_is_published() -> None:
    def read(*, table: LocalText = "", cache: LocalText | None = None, rows: int = 1) -> None:
        """Reads a table.

        Args:
            table: A file.
            cache: A folder.
            rows: A number.
        """

    options = options_of(read, "read")(table="/home/alice/t.csv", cache="/home/alice/c", rows=2)
    assert options.public() == {"table": HIDDEN, "cache": HIDDEN, "rows": 2}
    assert options.model_dump()["table"] == "/home/alice/t.csv"
