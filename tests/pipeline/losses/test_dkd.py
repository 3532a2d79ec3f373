import numpy as np
import pytest
import torch
from scipy.special import softmax

from pipeline.losses import DKDLoss
from pipeline.params import DKD


def written_out(student, teacher, labels, temperature):
    """Both divergences as in section 3.1 of the paper, in float64 NumPy."""

    def parts(logits, label):
        p = softmax(logits / temperature)
        others = np.delete(p, label)
        return np.array([p[label], others.sum()]), others / others.sum()

    def divergence(p, q):
        return np.sum(p * np.log(p / q))

    rows = []
    for s, t, label in zip(student.numpy(), teacher.numpy(), labels.tolist(), strict=True):
        of_student, of_teacher = parts(s, label), parts(t, label)
        rows.append([divergence(of_teacher[i], of_student[i]) for i in (0, 1)])
    return temperature**2 * np.mean(rows, axis=0)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_loss_is_the_one_written_out(logits, labels, cross_entropy, temperature):
    student, teacher = logits(1), logits(2)
    options = DKD(
        weight=0.3, label_weight=0.9, alpha=1.5, beta=6.0, temperature=temperature, warmup_epochs=0
    )
    loss = DKDLoss(options, 0.1)(student, labels, teacher, 0.0)
    target, others = written_out(student, teacher, labels, temperature)
    assert loss.parts["target"].item() == pytest.approx(target, rel=1e-10)
    assert loss.parts["others"].item() == pytest.approx(others, rel=1e-10)
    hard = cross_entropy(student, labels, 0.1)
    expected = 0.9 * hard + 0.3 * (1.5 * target + 6 * others)
    assert loss.total.item() == pytest.approx(expected, rel=1e-10)


def test_weighted_as_the_paper_says_it_is_the_published_kd(
    published, single_batch, value_and_gradient
):
    """Equation 5: KD is the first part, plus the second times the teacher's doubt in the label."""
    student, teacher, labels = single_batch
    doubts = 1 - (teacher / 4).softmax(dim=1)[torch.arange(len(labels)), labels]

    def ours(s):
        total = torch.zeros(())
        for i, doubt in enumerate(doubts.tolist()):
            options = DKD(label_weight=0, alpha=1, beta=doubt, temperature=4, warmup_epochs=0)
            one = slice(i, i + 1)
            total = total + DKDLoss(options)(s[one], labels[one], teacher[one], 0.0).total
        return total / len(labels)

    # Without any weight on the labels it would leave out the factor T².
    theirs = published("KDLoss", temperature=4.0, alpha=1e-12, beta=1.0)
    found = value_and_gradient(ours, student)
    expected = value_and_gradient(lambda s: theirs(s, teacher, labels), student)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_the_parts_see_what_they_are_named_after(logits, labels):
    teacher = logits(2)
    objective = DKDLoss(DKD(temperature=1.0))
    rows = torch.arange(len(labels))

    surer = teacher.clone()
    surer[rows, labels] += 2
    parts = objective(surer, labels, teacher, 0.0).parts
    assert parts["others"].item() == pytest.approx(0, abs=1e-12)
    assert parts["target"].item() > 0.01

    among_others = teacher.clone()
    swapped = [(label + 1) % 7 for label in labels.tolist()], [(x + 2) % 7 for x in labels.tolist()]
    among_others[rows, swapped[0]] = teacher[rows, swapped[1]]
    among_others[rows, swapped[1]] = teacher[rows, swapped[0]]
    parts = objective(among_others, labels, teacher, 0.0).parts
    assert parts["target"].item() == pytest.approx(0, abs=1e-12)
    assert parts["others"].item() > 0.01


def test_a_logit_of_any_size_is_taken_apart_exactly(labels):
    """Where the label is masked by a number such as 1000, logits of thousands shine through."""
    teacher = torch.zeros(4, 7, dtype=torch.float64)
    teacher[torch.arange(4), labels] = 60_000
    student = teacher.clone()
    student[:, 1] = 1.0
    others = DKDLoss(DKD(temperature=1.0))(student, labels, teacher, 0.0).parts["others"].item()
    # Six equal answers against one of them raised by 1.
    assert others == pytest.approx(np.log((5 + np.e) / 6) - 1 / 6, rel=1e-10)
