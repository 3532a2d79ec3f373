"""The image sizes of teacher and student."""

import pytest

from pipeline.errors import ParameterError
from pipeline.params import load_params
from tests.small_project import PROJECT


def load(*changes):
    # The project's teacher has a size of its own.
    return load_params(PROJECT / "params.yaml", ["finetune.image_size=null", *changes])


def test_without_a_size_of_their_own_both_networks_see_the_packed_size():
    params = load("prepare.image_size=64")
    assert (params.finetune.image_size, params.distill.image_size) == (64, 64)
    assert params.image_sizes == [64]
    assert params.model_dump()["distill"]["image_size"] == 64


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        (["finetune.image_size=224"], [224, 96]),
        (["distill.image_size=64"], [96, 64]),
        (["finetune.image_size=224", "distill.image_size=64"], [224, 64]),
        (["prepare.image_size=160", "finetune.image_size=128", "distill.image_size=64"],
         [160, 128, 64]),
        (["finetune.image_size=96", "distill.image_size=96"], [96]),
    ],
)  # fmt: skip
def test_every_size_is_packed_once_and_the_largest_first(changes, sizes):
    assert load("prepare.image_size=96", *changes).image_sizes == sizes


def test_members_of_the_teacher_and_qat_have_the_sizes_of_their_networks():
    params = load(
        "finetune.image_size=128", "distill.image_size=64", "finetune.members=[{seed: 1}]"
    )
    assert [n.recipe.image_size for n in params.finetune.networks(0)] == [128, 128]
    assert load("distill.image_size=64", "qat.epochs=1").qat.recipe(params.distill).image_size == 64
    assert params.distill.changed({"lr": 0.1}).image_size == 64


def test_impossible_sizes_are_refused_by_name():
    for value in ("8", "2000", "96.5"):
        with pytest.raises(ParameterError, match=rf"finetune\.image_size = {value}"):
            load(f"finetune.image_size={value}")


@pytest.mark.parametrize(
    ("ratio", "sizes"),
    [
        (1.5, [(160, 240), (96, 144)]),
        (1.7778, [(160, 284), (96, 171)]),
        (0.5, [(160, 80), (96, 48)]),
        (1.001, [160, 96]),  # rounded to squares
    ],
)
def test_the_width_is_the_ratio_times_the_height_to_the_nearest_pixel(ratio, sizes):
    params = load(
        f"prepare.aspect_ratio={ratio}", "finetune.image_size=160", "views.quarter_turns=false"
    )
    assert params.image_sizes == sizes
    assert params.distill.image_size == 96


@pytest.mark.parametrize("value", ["0", "-1", "0.2", "4.5", "16:9", ".inf", "null"])
def test_impossible_aspect_ratios_are_refused_by_name(value):
    with pytest.raises(ParameterError, match=r"prepare\.aspect_ratio"):
        load(f"prepare.aspect_ratio={value}", "views.quarter_turns=false")


def test_quarter_turns_of_rectangles_are_refused_with_both_names():
    with pytest.raises(ParameterError) as caught:
        load("prepare.aspect_ratio=1.5", "views.quarter_turns=true")
    text = str(caught.value)
    assert "views.quarter_turns" in text and "prepare.aspect_ratio is 1.5" in text
    assert "\n" not in text
