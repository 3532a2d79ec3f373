from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ArtifactError
from pipeline.provenance import check_inputs, check_params

PATH = Path("models/student/model.json")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=8,
)


def test_a_changed_input_is_named_with_both_hashes() -> None:
    check_inputs(PATH, {"data": "01" * 32, "teacher": "02" * 32}, data="01" * 32)
    with pytest.raises(ArtifactError, match="data/prepared 010101010101, which is now 0303"):
        check_inputs(PATH, {"data": "01" * 32}, data="03" * 32)


@pytest.mark.parametrize("recorded", [{}, {"data": None}])
def test_an_input_that_was_not_recorded_is_named(recorded: dict[str, object]) -> None:
    with pytest.raises(ArtifactError, match="does not record the data/prepared"):
        check_inputs(PATH, recorded, data="01" * 32)


def test_a_changed_parameter_is_named_with_both_values() -> None:
    then = {"epochs": 2, "figkd": {"level": 1}, "order": [1, 2]}
    check_params(PATH, "distill", then, {"order": (1, 2), "figkd": {"level": 1}, "epochs": 2})
    with pytest.raises(ArtifactError, match=r"distill\.figkd\.level = 1, which is now 2"):
        check_params(PATH, "distill", then, then | {"figkd": {"level": 2}})
    with pytest.raises(ArtifactError, match=r"distill\.lr = unset, which is now 0\.1"):
        check_params(PATH, "distill", then, then | {"lr": 0.1})
    with pytest.raises(ArtifactError, match=r"distill\.epochs = 2, which is now unset"):
        check_params(PATH, "distill", then, {"figkd": {"level": 1}, "order": [1, 2]})


@given(values, values)
def test_parameters_are_accepted_only_if_they_are_equal(one: object, other: object) -> None:
    check_params(PATH, "distill", one, one)
    try:
        check_params(PATH, "distill", {"key": one}, {"key": other})
    except ArtifactError:
        assert one != other
    else:
        assert one == other
