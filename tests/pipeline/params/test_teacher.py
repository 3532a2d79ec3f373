from __future__ import annotations

from typing import Any

import pytest
import yaml

from pipeline.errors import ParameterError
from pipeline.params import Params, load_params
from tests.small_project import PROJECT


def load(*overrides: str) -> Params:
    return load_params(PROJECT / "params.yaml", overrides)


def with_members(*members: dict[str, Any], more: tuple[str, ...] = ()) -> Params:
    text = yaml.safe_dump(list(members), default_flow_style=True, width=10_000).strip()
    return load(f"finetune.members={text}", *more)


def test_a_member_has_the_parameters_of_the_teacher_but_those_that_it_sets() -> None:
    params = with_members({"seed": 4}, {"model": "resnet18", "pretrained": "none", "lr": 0.5})
    main, seeded, other = params.finetune.networks(params.run.seed)
    assert main.values == load().finetune.model_dump(exclude={"members"})
    assert (main.key, main.seed, main.weight) == ("finetune", 0, 1.0)
    assert (seeded.key, seeded.seed, seeded.values) == ("finetune.members.0", 4, main.values)
    changes = {"model": "resnet18", "pretrained": "none", "lr": 0.5}
    assert other.values == main.values | changes
    assert (other.seed, other.weight) == (0, 1.0)


def test_files_of_the_teachers_weights_are_not_those_of_another_network() -> None:
    own = ("finetune.pretrained=file", "finetune.weights=/a.pth", "finetune.head=fresh")
    member = {"model": "resnet18", "pretrained": "library"}
    _, other, same = with_members(member, {"seed": 1}, more=own).finetune.networks(0)
    assert (other.recipe.weights, other.recipe.head) == (None, "match")
    assert (same.recipe.weights, same.recipe.head) == ("/a.pth", "fresh")


@pytest.mark.parametrize(
    ("members", "more", "words"),
    [
        ([{}], (), ("finetune.members.0", "of finetune,", "another seed")),
        ([{"seed": 0, "weight": 2.0}], (), ("finetune.members.0", "of finetune,")),
        ([{"seed": 3}], ("run.seed=3",), ("finetune.members.0", "of finetune,")),
        ([{"seed": 1}, {"seed": 1}], (), ("finetune.members.1", "of finetune.members.0,")),
        (  # weights that are not trained do not depend on the seed
            [{"pretrained": "file", "weights": "/a", "epochs": 0, "seed": s} for s in (1, 2)],
            (),
            ("finetune.members.1", "of finetune.members.0,"),
        ),
        ([{"pretrained": "file"}], (), ("finetune.members", "`weights` must be set")),
        ([{"model": "resnet18", "pretrained": "none", "epochs": 0}], (), ("epochs = 0",)),
        ([{"seed": 1, "weight": 0.0}], (), ("finetune.members.0.weight", "greater than 0")),
        ([{"seed": 1, "lrr": 0.1}], (), ("finetune.members.0.lrr", "did you mean")),
    ],
    ids=str,
)
def test_members_that_add_nothing_or_do_not_fit_are_one_line(
    members: list[dict[str, Any]], more: tuple[str, ...], words: tuple[str, ...]
) -> None:
    with pytest.raises(ParameterError) as caught:
        with_members(*members, more=more)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("cache_logits.folds=1",), ("cache_logits.folds", "0, or 2 or more")),
        (("cache_logits.folds=3", "cache_logits.views=0"), ("folds", "views", "1 or more")),
        (
            ("cache_logits.folds=3", "finetune.epochs=0"),
            ("cache_logits.folds", "finetune.epochs is 0"),
        ),
        (
            ("cache_logits.folds=3", "finetune.members=[{epochs: 0}]"),
            ("cache_logits.folds", "finetune.members.0.epochs is 0"),
        ),
    ],
    ids=str,
)
def test_folds_that_cannot_be_answered_are_refused(
    overrides: tuple[str, ...], words: tuple[str, ...]
) -> None:
    with pytest.raises(ParameterError) as caught:
        load(*overrides)
    assert all(word in str(caught.value) for word in words), caught.value


def test_paths_of_members_are_hidden_in_what_is_published() -> None:
    member = {"pretrained": "file", "weights": "/home/me/a.pth", "class_names": "/home/me/names"}
    public = str(with_members(member).public())
    assert "/home/me" not in public
