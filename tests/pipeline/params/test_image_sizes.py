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
