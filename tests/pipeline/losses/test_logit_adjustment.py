"""Logit adjustment of the cross-entropy, alone and beside the terms of a teacher."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from pipeline.losses import CrossEntropy, DISTLoss, DKDLoss, FiGKDLoss, KDLoss, LogitMSELoss
from pipeline.losses.logit_adjustment import label_offsets

COUNTS = torch.tensor([400, 5, 60, 1, 30, 3, 1])
LOSSES = {
    "figkd": FiGKDLoss(7),
    "kd": KDLoss(),
    "dkd": DKDLoss(),
    "dist": DISTLoss(),
    "mse": LogitMSELoss(),
}


def adjusted(tau, counts=COUNTS, **options):
    loss = CrossEntropy(**options)
    loss.label_offsets = label_offsets(counts, tau)
    return loss


@pytest.mark.parametrize("tau", [0.5, 1.0, 1.5])
def test_it_is_the_pairwise_margin_of_the_paper(logits, labels, tau):
    """log(1 + sum over y' ≠ y of (prior[y'] / prior[y])^tau * exp(f[y'] - f[y])), equation 11."""
    prior, expected = COUNTS.double().numpy() / COUNTS.sum().item(), []
    for row, label in zip(logits(1).numpy(), labels.tolist(), strict=True):
        others = [c for c in range(7) if c != label]
        ratios = (prior[others] / prior[label]) ** tau
        expected.append(np.log1p(np.sum(ratios * np.exp(row[others] - row[label]))))
    found = adjusted(tau)(logits(1), None, labels).item()
    assert found == pytest.approx(np.mean(expected), rel=1e-6)


def test_label_smoothing_applies_to_the_adjusted_logits(logits, labels):
    rows = log_softmax(logits(1).numpy() + np.log(COUNTS.numpy() / COUNTS.sum().item()), axis=1)
    hard = -rows[np.arange(4), labels.numpy()].mean()
    found = adjusted(1.0, label_smoothing=0.2)(logits(1), None, labels).item()
    assert found == pytest.approx(0.8 * hard - 0.2 * rows.mean(), rel=1e-6)


def test_without_adjustment_there_are_no_offsets():
    assert label_offsets(COUNTS, 0.0) is None


@given(count=st.integers(1, 10**6), tau=st.floats(0, 4), seed=st.integers(0, 99))
def test_balanced_classes_are_not_adjusted(logits, labels, count, tau, seed):
    found = adjusted(tau, torch.full((7,), count))(logits(seed), None, labels)
    torch.testing.assert_close(found, CrossEntropy()(logits(seed), None, labels))


@given(
    counts=st.lists(st.integers(1, 10**6), min_size=7, max_size=7),
    factor=st.integers(2, 100),
    tau=st.floats(0.1, 3),
)
def test_it_depends_on_the_proportions_of_the_classes_only(counts, factor, tau):
    one, many = torch.tensor(counts), factor * torch.tensor(counts)
    torch.testing.assert_close(label_offsets(one, tau), label_offsets(many, tau))


@given(counts=st.lists(st.integers(1, 10**5), min_size=7, max_size=7))
def test_unit_adjustment_of_the_true_log_odds_is_the_natural_posterior(counts):
    """Bayes: where the logits are log p(x | y), the adjusted softmax is p(y | x)."""
    likelihood = np.random.default_rng(0).dirichlet(np.ones(7), size=7)  # p(x | y), [y, x]
    joint = likelihood * (np.array(counts) / sum(counts))[:, None]
    posterior = joint / joint.sum(axis=0)
    offsets = label_offsets(torch.tensor(counts), 1.0)
    found = (torch.from_numpy(np.log(likelihood.T)) + offsets).softmax(dim=1)
    np.testing.assert_allclose(found.numpy(), posterior.T, rtol=1e-4, atol=1e-9)


def test_a_class_without_images_counts_as_one_of_the_smallest():
    found = label_offsets(torch.tensor([6, 0, 2]), 1.0)
    torch.testing.assert_close(found, label_offsets(torch.tensor([6, 2, 2]), 1.0))
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("method", LOSSES)
def test_the_transfer_from_the_teacher_sees_raw_logits(logits, labels, method):
    loss = copy.deepcopy(LOSSES[method])
    plain = loss.terms(logits(1), logits(2), labels)
    loss.label_offsets = label_offsets(COUNTS, 1.0)
    found = loss.terms(logits(1), logits(2), labels)
    assert found.pop("cross_entropy") != plain.pop("cross_entropy")
    assert found.keys() == plain.keys()
    assert all(torch.equal(found[name], plain[name]) for name in plain)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_logits_are_adjusted_in_float32(logits, labels, dtype):
    rounded = logits(1).to(dtype)
    found, expected = (adjusted(1.0)(x, None, labels) for x in (rounded, rounded.float()))
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_checkpoints_contain_no_offsets():
    assert adjusted(1.0).state_dict() == {}
