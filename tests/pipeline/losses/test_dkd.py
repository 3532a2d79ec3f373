import numpy as np
import pytest
import torch
from scipy.special import softmax

from pipeline.losses import DKDLoss


def tckd_and_nckd(student, teacher, labels, temperature):
    """TCKD and NCKD as in section 3.1 of the paper, in float64 NumPy."""

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
def test_the_loss_equals_tckd_and_nckd_in_numpy(logits, labels, cross_entropy, temperature):
    student, teacher = logits(1), logits(2)
    loss = DKDLoss(
        label_smoothing=0.1,
        weight=0.3,
        label_weight=0.9,
        alpha=1.5,
        beta=6.0,
        temperature=temperature,
    )
    terms = loss.terms(student, teacher, labels)
    tckd, nckd = tckd_and_nckd(student, teacher, labels, temperature)
    assert terms["tckd"].item() == pytest.approx(0.3 * 1.5 * tckd, rel=1e-10)
    assert terms["nckd"].item() == pytest.approx(0.3 * 6 * nckd, rel=1e-10)
    hard = cross_entropy(student, labels, 0.1)
    expected = 0.9 * hard + 0.3 * (1.5 * tckd + 6 * nckd)
    assert loss(student, teacher, labels).item() == pytest.approx(expected, rel=1e-10)


def test_with_the_weights_of_the_paper_it_equals_kd(published, single_batch, value_and_gradient):
    """Equation 5: KD is TCKD plus NCKD times the teacher's probability of other classes."""
    student, teacher, labels = single_batch
    non_target = 1 - (teacher / 4).softmax(dim=1)[torch.arange(len(labels)), labels]

    def ours(s):
        total = torch.zeros(())
        for i, probability in enumerate(non_target.tolist()):
            loss = DKDLoss(label_weight=0, alpha=1, beta=probability, temperature=4)
            one = slice(i, i + 1)
            total = total + loss(s[one], teacher[one], labels[one])
        return total / len(labels)

    # Without any weight on the labels it would leave out the factor T².
    theirs = published("KDLoss", temperature=4.0, alpha=1e-12, beta=1.0)
    found = value_and_gradient(ours, student)
    expected = value_and_gradient(lambda s: theirs(s, teacher, labels), student)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_tckd_and_nckd_respond_to_their_own_probabilities(logits, labels):
    teacher = logits(2)
    loss = DKDLoss(temperature=1.0)
    rows = torch.arange(len(labels))

    surer = teacher.clone()
    surer[rows, labels] += 2
    terms = loss.terms(surer, teacher, labels)
    assert terms["nckd"].item() == pytest.approx(0, abs=1e-12)
    assert terms["tckd"].item() > 0.01

    among_others = teacher.clone()
    swapped = [(label + 1) % 7 for label in labels.tolist()], [(x + 2) % 7 for x in labels.tolist()]
    among_others[rows, swapped[0]] = teacher[rows, swapped[1]]
    among_others[rows, swapped[1]] = teacher[rows, swapped[0]]
    terms = loss.terms(among_others, teacher, labels)
    assert terms["tckd"].item() == pytest.approx(0, abs=1e-12)
    assert terms["nckd"].item() > 0.01


def test_large_logits_are_decoupled_exactly(labels):
    """Masking the label with a number such as 1000 would fail for logits of thousands."""
    teacher = torch.zeros(4, 7, dtype=torch.float64)
    teacher[torch.arange(4), labels] = 60_000
    student = teacher.clone()
    student[:, 1] = 1.0
    nckd = DKDLoss(temperature=1.0, beta=1.0).terms(student, teacher, labels)["nckd"].item()
    # Six equal logits compared with six of which one is larger by 1.
    assert nckd == pytest.approx(np.log((5 + np.e) / 6) - 1 / 6, rel=1e-10)
