"""Every number has a ceiling: a typing error in params.yaml must not compute for ever."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

import pytest
from annotated_types import Interval, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.params import Compare, Scout, params_model
from pipeline.plugins import RUNTIMES

# Beyond these, no program, device or training run is known to Finch that would need more.
HIGHEST_INT, HIGHEST_FLOAT = 2**32, 1e9


def numbers(model: type[BaseModel], place: str) -> Iterator[tuple[str, list[Any]]]:
    """Place and constraints of every integer and float in a model, also in lists and sections."""
    for name, field in model.model_fields.items():
        yield from _numbers(field.annotation, field.metadata, f"{place}.{name}")


def _numbers(kind: Any, constraints: list[Any], place: str) -> Iterator[tuple[str, list[Any]]]:
    if get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        for each in more:
            constraints = [*constraints, *(each.metadata if type(each) is FieldInfo else [each])]
        yield from _numbers(kind, constraints, place)
    elif get_origin(kind) is not None:
        for each in get_args(kind):
            # A union has the constraints of its field; the items of a list have their own.
            is_union = get_origin(kind) not in (list, tuple, dict, set)
            yield from _numbers(each, constraints if is_union else [], place)
    elif kind in (int, float):
        yield place, constraints
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from numbers(kind, place)


OPTIONS = {
    f"{runtime}.{method}": options
    for runtime in RUNTIMES.names()
    for method, options in RUNTIMES[runtime].int8_methods.items()
}
MODELS = {"params": params_model(), "compare": Compare, "scout": Scout, **OPTIONS}
NUMBERS = [each for place, model in MODELS.items() for each in numbers(model, place)]


def test_all_kinds_of_places_are_found() -> None:
    found = {place for place, _ in NUMBERS}
    assert {
        "params.run.seed",
        "params.finetune.milestones",  # in a list
        "params.distill.kd.temperature",  # of a plug-in
        "params.evaluate.devices.port",  # in a section in a list
        "params.bundle.max_model_mb",  # optional
        "compare.trial_epochs",
        "scout.image_sizes",
    } <= found
    assert len(found) > 100


@pytest.mark.parametrize(("place", "constraints"), NUMBERS, ids=[place for place, _ in NUMBERS])
def test_every_number_has_a_ceiling(place: str, constraints: list[Any]) -> None:
    limits = [each.le for each in constraints if isinstance(each, Le | Interval) and each.le]
    limits += [each.lt for each in constraints if isinstance(each, Lt | Interval) and each.lt]
    ceiling = min(limits, default=math.inf)
    assert ceiling <= (HIGHEST_FLOAT if isinstance(ceiling, float) else HIGHEST_INT), (
        f"{place} accepts any number: give it an upper limit"
    )
