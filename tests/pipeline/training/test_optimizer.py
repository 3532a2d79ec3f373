from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.errors import ParameterError
from pipeline.models.classifier import Classifier, Spec, build_classifier
from pipeline.params import Recipe
from pipeline.training.optimizer import (
    build_ema,
    build_optimizer,
    freeze_backbone,
    lr_factor,
)


def recipe(**changes):
    return Recipe(**{"epochs": 1, "batch_size": 8, "lr": 0.1, "weight_decay": 0.2, **changes})


def factors(total, **changes):
    factor = lr_factor(recipe(**changes), total)
    return [factor(step) for step in range(total)]


schedules = st.sampled_from(["one_cycle", "cosine", "constant", "multi_step"])


@given(schedules, st.floats(0, 1), st.integers(1, 500))
def test_learning_rate_increases_only_during_warmup(schedule, warmup, total):
    found = factors(total, schedule=schedule, warmup=warmup)
    rising = sum(step < warmup * total for step in range(total))
    assert all(0 < factor <= 1 for factor in found)
    steps = [later - earlier for earlier, later in pairwise(found)]
    assert all(change > 0 for change in steps[: max(0, rising - 1)])
    assert all(change <= 0 for change in steps[rising:])
    # The warm-up is linear.
    assert steps[: max(0, rising - 1)] == pytest.approx([found[0]] * max(0, rising - 1))


@pytest.mark.parametrize("total", [1, 7, 100])
def test_cosine_without_warmup_equals_torch(total):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total)
    expected = []
    for _ in range(total):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert factors(total, schedule="cosine", warmup=0.0) == pytest.approx(expected)


@pytest.mark.parametrize(("schedule", "floor"), [("one_cycle", 1e-4), ("cosine", 0.0)])
def test_schedule_decreases_from_peak_to_floor(schedule, floor):
    factor = lr_factor(recipe(schedule=schedule, warmup=0.2), 1000)
    assert factor(0) == pytest.approx(1 / 201)
    assert factor(200) == 1.0
    assert factor(600) == pytest.approx((1 + floor) / 2)
    assert factor(1000) == pytest.approx(floor)


def test_constant_schedule_after_warmup():
    assert factors(10, schedule="constant", warmup=0.2) == pytest.approx([1 / 3, 2 / 3] + 8 * [1])


@pytest.mark.parametrize(("epochs", "steps"), [(240, 3), (240, 1), (8, 5)])
def test_multi_step_equals_torch(epochs, steps):
    """The milestones are 150, 180 and 210 of 240 epochs, scaled to any other number."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    milestones = [epochs * milestone // 240 for milestone in (150, 180, 210)]
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.1)
    expected = []
    for _ in range(epochs):
        expected += steps * scheduler.get_last_lr()
        optimizer.step()
        scheduler.step()
    found = factors(epochs * steps, schedule="multi_step", warmup=0.0)
    assert found == pytest.approx(expected)


@given(st.lists(st.floats(0, 1), max_size=5), st.floats(0.01, 1), st.integers(1, 300))
def test_multi_step_multiplies_by_gamma_at_each_milestone(milestones, gamma, total):
    changes = {"schedule": "multi_step", "warmup": 0.0, "milestones": milestones, "gamma": gamma}
    factor = lr_factor(recipe(**changes), total)
    assert factor(total) == pytest.approx(gamma ** len(milestones))
    at_start = sum(fraction * total < 0.5 for fraction in milestones)
    assert factor(0) == pytest.approx(gamma**at_start) or 0.5 in [
        fraction * total for fraction in milestones
    ]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.LayerNorm(4), nn.Linear(4, 2))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_no_weight_decay_for_biases_and_normalization_layers(optimizer):
    """With zero gradients, a step multiplies by 1 - lr * decay."""
    model = network()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 2.0)
        parameter.grad = torch.zeros_like(parameter)
    build_optimizer(model, recipe(optimizer=optimizer, momentum=0.0)).step()
    for name, parameter in model.named_parameters():
        expected = 2.0 * (1 - 0.1 * 0.2) if name in ("0.weight", "3.weight") else 2.0
        torch.testing.assert_close(parameter.detach(), torch.full_like(parameter, expected))


def test_optimizer_excludes_frozen_parameters():
    model = network()
    model[0].requires_grad_(False)
    groups = build_optimizer(model, recipe()).param_groups
    optimized = {id(parameter) for group in groups for parameter in group["params"]}
    assert optimized == {id(p) for layer in model[1:] for p in layer.parameters()}


def test_sgd_has_nesterov_momentum():
    """Two steps with gradient 1: v is 1, then 1.9, and each step is lr * (1 + 0.9 * v)."""
    model = nn.Linear(1, 1)
    nn.init.zeros_(model.bias)
    optimizer = build_optimizer(model, recipe(weight_decay=0.0, momentum=0.9))
    for _ in range(2):
        model.weight.grad, model.bias.grad = torch.zeros(1, 1), torch.ones(1)
        optimizer.step()
    assert model.bias.item() == pytest.approx(-0.1 * ((1 + 0.9) + (1 + 0.9 * 1.9)))


def test_backbone_lr_scales_the_steps_of_all_layers_but_the_classifier():
    def changes(factor):
        torch.manual_seed(0)
        model = build_classifier("test_efficientnet", ("a", "b", "c"), 32)
        before = {name: tensor.clone() for name, tensor in model.named_parameters()}
        optimizer = build_optimizer(model, recipe(weight_decay=0.01, backbone_lr=factor))
        for group in optimizer.param_groups:
            group["lr"] *= group["lr_factor"]
        model(torch.full((4, 3, 32, 32), 0.3)).square().sum().backward()
        optimizer.step()
        return {name: tensor.detach() - before[name] for name, tensor in model.named_parameters()}

    whole, tenth, none = changes(1.0), changes(0.1), changes(0.0)
    for name, change in whole.items():
        is_head = name.startswith("backbone.classifier")
        torch.testing.assert_close(
            tenth[name], change if is_head else change / 10, rtol=1e-3, atol=1e-7
        )
        torch.testing.assert_close(none[name], change if is_head else torch.zeros_like(change))


def test_no_ema_without_decay():
    assert build_ema(network(), 0.0) is None


def changed_by_step(model):
    """Names of the parameters and buffers that a step with a large learning rate changes."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(torch.rand(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    return {n for n, tensor in model.state_dict().items() if not torch.equal(before[n], tensor)}


def test_freeze_backbone_trains_only_the_classifier_layer():
    torch.manual_seed(0)
    model = build_classifier("test_efficientnet", ("a", "b", "c"), 32)
    head = {"backbone.classifier.weight", "backbone.classifier.bias"}
    freeze_backbone(model)
    assert changed_by_step(model) == head
    model.requires_grad_(True).train()
    changed = changed_by_step(model)
    assert changed > head
    assert any("running_mean" in name for name in changed)


def test_freeze_backbone_trains_both_heads_of_a_distilled_network():
    model = build_classifier("deit_tiny_distilled_patch16_224", ("a", "b", "c"), 32)
    freeze_backbone(model)
    heads = {
        f"backbone.{head}.{kind}" for head in ("head", "head_dist") for kind in ("weight", "bias")
    }
    assert changed_by_step(model) == heads


@pytest.mark.parametrize("backbone", [nn.Flatten(), nn.Sequential(nn.Flatten(), nn.Linear(3, 2))])
def test_model_without_classifier_layer_raises(backbone):
    model = Classifier(backbone, Spec("plain", ("a", "b"), 1, (0.5,) * 3, (0.5,) * 3))
    with pytest.raises(ParameterError, match=r"has no classifier layer .*freeze_epochs to 0"):
        freeze_backbone(model)
