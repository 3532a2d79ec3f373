import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.params import Recipe, load_params
from tests.pipeline.params.own_file import FILE, refusal


def recipe(epochs=30, batch_size=32, patience=0, freeze_epochs=0, freeze_below=0, **steps):
    return Recipe(
        epochs=epochs,
        freeze_epochs=freeze_epochs,
        freeze_below=freeze_below,
        batch_size=batch_size,
        patience=patience,
        steps=steps,
        lr=0.1,
        weight_decay=0,
    )


@pytest.mark.parametrize(
    ("images", "epochs"),
    [
        (150, 120),  # 5 steps per epoch
        (161, 100),  # 6 steps per epoch: the last batch counts
        (1_000, 30),  # 960 steps
        (150_000, 4),  # 4,688 steps per epoch
        (1_500_000, 1),  # one epoch is the least
    ],
)
def test_few_images_are_trained_for_more_epochs_and_many_for_fewer(images, epochs):
    assert recipe(min=600, max=20_000).for_images(images).epochs == epochs


@given(
    st.integers(1, 10**6),
    st.integers(1, 300),
    st.integers(1, 512),
    st.integers(1, 10**4),
    st.integers(0, 10**4),
)
def test_the_steps_are_within_the_limits(images, epochs, batch_size, low, width):
    found = recipe(epochs, batch_size, min=low, max=low + width).for_images(images)
    per_epoch = math.ceil(images / batch_size)
    steps = found.epochs * per_epoch
    assert steps <= max(low + width, per_epoch)
    # Fewer than the minimum only where one more epoch would exceed the maximum.
    assert steps >= low or steps + per_epoch > low + width
    if low <= epochs * per_epoch <= low + width:
        assert found.epochs == epochs
    assert found.for_images(1) == found


def test_without_limits_the_recipe_is_unchanged():
    for unlimited in (recipe(), recipe(epochs=0, min=10)):
        assert unlimited.for_images(5) == unlimited


def test_patience_is_the_same_fraction_of_the_training():
    assert recipe(epochs=30, patience=10, min=600).for_images(150).patience == 40
    assert recipe(epochs=30, patience=10, max=3_000).for_images(10_000).patience == 3
    assert recipe(epochs=30, patience=0, min=600).for_images(150).patience == 0


def test_the_frozen_epochs_are_the_same_fraction_of_the_training():
    assert recipe(epochs=30, freeze_epochs=10, min=600).for_images(150).freeze_epochs == 40
    assert recipe(epochs=30, freeze_epochs=10, max=3_000).for_images(10_000).freeze_epochs == 3


@given(st.integers(1, 10**5), st.integers(1, 10**5), st.integers(1, 100), st.integers(1, 10**4))
def test_few_images_train_the_classifier_layer_alone(images, limit, epochs, low):
    chosen = recipe(epochs=epochs, freeze_below=limit, min=low, max=low + 50)
    found = chosen.for_images(images)
    assert found.freeze_epochs == (found.epochs if images < limit else 0)
    assert found.for_images(1) == found


@pytest.mark.parametrize(("pretrained", "frozen", "factor"), [("none", 0, 1), ("library", 30, 0.2)])
def test_a_backbone_with_random_weights_is_trained_from_the_start(pretrained, frozen, factor):
    changes = {"pretrained": pretrained, "freeze_below": 2_001, "backbone_lr": 0.2}
    params = load_params(FILE, [f"distill.{key}={value}" for key, value in changes.items()])
    found = params.distill.for_images(2_000)
    assert (found.freeze_epochs, found.backbone_lr) == (frozen, factor)


def test_limits_in_the_wrong_order_are_refused():
    message = refusal(FILE, "distill.steps={min: 300, max: 200}")
    assert "distill.steps" in message and "300" in message and "200" in message


def test_quantization_aware_training_has_its_own_epochs():
    params = load_params(FILE, ["distill.steps.min=500", "qat.epochs=2"])
    assert params.qat.recipe(params.distill).for_images(100).epochs == 2


def test_cuda_graphs_and_gradient_accumulation_are_refused_together():
    graphs = "distill.compile=reduce-overhead"
    assert load_params(FILE, [graphs]).distill.compile == "reduce-overhead"
    message = refusal(FILE, graphs, "distill.accumulate=2")
    assert "reduce-overhead" in message and "accumulate = 1, not 2" in message


@pytest.mark.parametrize(("value", "shown"), [("max-autotune", "'max-autotune'"), ("3", "3")])
def test_an_unknown_compilation_is_refused_by_its_own_name(value, shown):
    message = refusal(FILE, f"distill.compile={value}")
    assert f"distill.compile = {shown}: " in message and "reduce-overhead" in message
