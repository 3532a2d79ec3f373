"""The project's own parameter file, and the error message of a change to it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ParameterError
from pipeline.params import load_params

PROJECT = Path(__file__).parents[3]
FILE = PROJECT / "params.yaml"


def refusal(path, *overrides):
    with pytest.raises(ParameterError) as caught:
        load_params(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value
