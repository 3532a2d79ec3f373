import itertools
from functools import partial

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax

from pipeline.errors import ParameterError
from pipeline.losses import CrossEntropy, FiGKDLoss, KDLoss
from pipeline.params import KD, FiGKD

CLASSES = 11
LABELS = torch.tensor([0, 3, 10, 3, 7])
detail_alone = partial(FiGKD, weight=1.0, kd_share=0.0)


def batch(seed, classes=CLASSES):
    return torch.from_numpy(np.random.default_rng(seed).normal(1, 4, (len(LABELS), classes)))


def written_out(student, labels, teacher, options, order, label_smoothing=0.0):
    """Cross-entropy and distance in NumPy, with PyWavelets' own transform."""

    def bands(logits):
        x = logits.numpy()
        if options.normalization != "none":
            x = x - x.mean(axis=1, keepdims=True)
        if options.normalization == "standardized":
            x = x / x.std(axis=1, keepdims=True)
        x = x[:, order] / options.temperature
        content, *details = pywt.wavedec(x, options.wavelet, options.mode, options.level, axis=1)
        kept = {"detail": details, "content": [content], "all": [content, *details]}
        return np.concatenate(kept[options.bands], axis=1)

    of_student, of_teacher = bands(student), bands(teacher)
    if options.distance == "mse":
        distance = np.mean((of_student - of_teacher) ** 2)
    elif options.distance == "l1":
        distance = np.mean(np.abs(of_student - of_teacher))
    else:
        log_p, log_q = log_softmax(of_teacher, axis=1), log_softmax(of_student, axis=1)
        distance = np.sum(np.exp(log_p) * (log_p - log_q)) / len(log_p)
    rows = log_softmax(student.numpy(), axis=1)
    hard = -np.mean(rows[np.arange(len(rows)), labels.numpy()])
    cross_entropy = (1 - label_smoothing) * hard - label_smoothing * rows.mean()
    return cross_entropy, distance


@pytest.mark.parametrize(
    ("distance", "normalization", "bands"),
    itertools.product(
        ["mse", "l1", "kl"], ["none", "centered", "standardized"], ["detail", "content", "all"]
    ),
)
def test_the_loss_is_the_one_written_out(distance, normalization, bands):
    order = np.random.default_rng(5).permutation(CLASSES).tolist()
    student, teacher = batch(1), batch(2)
    for wavelet, level, mode in [("haar", 3, "zero"), ("db2", 1, "reflect")]:
        options = detail_alone(
            weight=0.7,
            wavelet=wavelet,
            level=level,
            mode=mode,
            bands=bands,
            normalization=normalization,
            temperature=2.5,
            distance=distance,
            label_weight=0.4,
        )
        loss = FiGKDLoss(options, CLASSES, order, 0.1)(student, LABELS, teacher, 3.0)
        cross_entropy, expected = written_out(student, LABELS, teacher, options, order, 0.1)
        # Standardisation adds 1e-7 to a variance of about 16.
        assert loss.parts["detail"].item() == pytest.approx(expected, rel=1e-7)
        assert loss.parts["cross_entropy"].item() == pytest.approx(cross_entropy, rel=1e-12)
        assert loss.total.item() == pytest.approx(0.4 * cross_entropy + 0.7 * expected, rel=1e-7)


@pytest.mark.parametrize("distance", ["mse", "l1", "kl"])
def test_many_classes_have_the_loss_written_out(distance):
    order = np.random.default_rng(5).permutation(300).tolist()
    student, teacher = batch(1, 300), batch(2, 300)
    options = detail_alone(
        wavelet="db2", level=3, mode="smooth", distance=distance, temperature=2.0
    )
    loss = FiGKDLoss(options, 300, order)(student, LABELS, teacher, 0.0)
    cross_entropy, expected = written_out(student, LABELS, teacher, options, order)
    assert loss.parts["detail"].item() == pytest.approx(expected, rel=1e-9)
    assert loss.total.item() == pytest.approx(cross_entropy + expected, rel=1e-9)


def test_level_max_is_the_loss_of_the_deepest_level():
    student, teacher = batch(1, 37), batch(2, 37)
    deepest = pywt.dwt_max_level(37, 4)
    totals = [
        FiGKDLoss(detail_alone(wavelet="db2", level=level), 37)(
            student, LABELS, teacher, 0.0
        ).total.item()
        for level in ("max", deepest, deepest - 1)
    ]
    assert totals[0] == totals[1] != totals[2]


@pytest.mark.parametrize("num_classes", [11, 300])
@pytest.mark.parametrize("distance", ["mse", "l1", "kl"])
@pytest.mark.parametrize("normalization", ["none", "standardized"])
def test_gradients_are_those_of_finite_differences(num_classes, distance, normalization):
    options = detail_alone(
        wavelet="db2", distance=distance, normalization=normalization, temperature=2.0
    )
    objective = FiGKDLoss(options, num_classes, list(reversed(range(num_classes))))
    student = batch(1, num_classes)[:2].requires_grad_()
    teacher = batch(2, num_classes)[:2]

    def loss(inputs):
        return objective(inputs, LABELS[:2], teacher, 0.0).total

    assert torch.autograd.gradcheck(loss, (student,))
    if num_classes == CLASSES:
        assert torch.autograd.gradgradcheck(loss, (student,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("distance", ["mse", "l1", "kl"])
@pytest.mark.parametrize("normalization", ["none", "centered", "standardized"])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_logits_lose_nothing_in_the_loss(dtype, distance, normalization, autocast):
    # Their squares are beyond float16, and bfloat16 has 8 bits: too few for the contrasts.
    student, teacher = (100 * batch(1)).to(dtype), 100 * batch(2).float()
    options = detail_alone(distance=distance, normalization=normalization, temperature=9.0)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        loss = FiGKDLoss(options, CLASSES)(student, LABELS, teacher, 0.0)
    _, expected = written_out(student.double(), LABELS, teacher.double(), options, range(CLASSES))
    assert loss.total.dtype == torch.float32
    assert loss.parts["detail"].item() == pytest.approx(expected, rel=1e-4)


def test_mse_is_that_of_the_students_detail_and_the_teachers():
    student, teacher = batch(1), batch(2)
    objective = FiGKDLoss(detail_alone(wavelet="db2"), CLASSES)
    detail = objective.transform(student) - objective.transform(teacher)
    found = objective(student, LABELS, teacher, 0.0).parts["detail"]
    torch.testing.assert_close(found, detail.square().mean(), rtol=1e-12, atol=0)


def distance_gradient(options, student, teacher):
    """What the distance adds to the gradient of the cross-entropy."""
    gradients = []
    for weight in (0.0, 1.0):
        inputs = student.clone().requires_grad_()
        objective = FiGKDLoss(options.model_copy(update={"weight": weight}), inputs.shape[1])
        labels = torch.zeros(len(inputs), dtype=torch.int64)
        objective(inputs, labels, teacher, 0.0).total.backward()
        gradients.append(inputs.grad)
    return gradients[1] - gradients[0]


def band_only_signal(wavelet, level, classes, content):
    """A signal with nothing but content, or nothing but detail, under periodization."""
    noise = batch(9, classes).numpy()
    kept = pywt.wavedec(noise, wavelet, "periodization", level, axis=1)
    kept = [band if (place == 0) == content else 0 * band for place, band in enumerate(kept)]
    return torch.from_numpy(pywt.waverec(kept, wavelet, "periodization", axis=1))


@pytest.mark.parametrize(("wavelet", "level"), [("haar", 1), ("haar", 3), ("db2", 2)])
@pytest.mark.parametrize("distance", ["mse", "kl"])
def test_a_difference_in_content_alone_teaches_nothing(wavelet, level, distance):
    teacher = batch(2, classes=16)
    student = teacher + band_only_signal(wavelet, level, 16, content=True)
    options = {"wavelet": wavelet, "level": level, "mode": "periodization", "distance": distance}
    assert distance_gradient(detail_alone(**options), student, teacher).abs().max() < 1e-9
    complement = detail_alone(**options, bands="content")
    assert distance_gradient(complement, student, teacher).abs().max() > 1e-3


def test_a_difference_in_detail_alone_teaches_the_complement_nothing():
    teacher = batch(2, classes=16)
    student = teacher + band_only_signal("db2", 2, 16, content=False)
    options = {"wavelet": "db2", "level": 2, "mode": "periodization"}
    complement = detail_alone(**options, bands="content")
    assert distance_gradient(complement, student, teacher).abs().max() < 1e-9
    assert distance_gradient(detail_alone(**options), student, teacher).abs().max() > 1e-3


@given(st.floats(-50, 50), st.sampled_from([2, 8, 12]))
def test_haar_does_not_see_a_constant_shift(shift, classes):
    teacher = batch(2, classes)
    gradient = distance_gradient(detail_alone(), teacher + shift, teacher)
    assert gradient.abs().max() < 1e-10


def test_a_student_that_says_what_the_teacher_says_has_no_distance():
    for distance in ("mse", "l1", "kl"):
        options = detail_alone(weight=3.0, distance=distance)
        assert distance_gradient(options, batch(1), batch(1)).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("epoch", "share"), [(0.0, 0.0), (0.5, 0.125), (2.0, 0.5), (4.0, 1.0), (9.5, 1.0)]
)
def test_the_weight_rises_from_nothing_over_the_warm_up(epoch, share):
    student, teacher = batch(1), batch(2)
    loss = FiGKDLoss(detail_alone(weight=0.5, warmup_epochs=4.0), CLASSES)(
        student, LABELS, teacher, epoch
    )
    added = loss.total - loss.parts["cross_entropy"]
    assert added.item() == pytest.approx(0.5 * share * loss.parts["detail"].item(), abs=1e-12)


def test_without_weight_it_is_the_cross_entropy():
    student, teacher = batch(1).requires_grad_(), batch(2)
    loss = FiGKDLoss(detail_alone(weight=0.0), CLASSES, None, 0.1)(student, LABELS, teacher, 1.0)
    plain = CrossEntropy(0.1)(student, LABELS, None, 1.0)
    assert loss.total.item() == plain.total.item()
    (with_teacher,) = torch.autograd.grad(loss.total, student)
    (without,) = torch.autograd.grad(plain.total, student)
    assert torch.equal(with_teacher, without)


@given(st.permutations(range(CLASSES)), st.sampled_from(["mse", "l1", "kl"]))
def test_an_order_gives_the_loss_of_permuted_logits(order, distance):
    student, teacher = batch(1), batch(2)
    options = detail_alone(wavelet="db2", distance=distance, normalization="centered")
    ordered = FiGKDLoss(options, CLASSES, order)(student, LABELS, teacher, 1.0)
    places = torch.argsort(torch.tensor(order))
    permuted = FiGKDLoss(options, CLASSES)(
        student[:, order], places[LABELS], teacher[:, order], 1.0
    )
    torch.testing.assert_close(ordered.total, permuted.total, rtol=1e-10, atol=0)


@given(
    hnp.arrays(np.float16, (2, 6), elements=st.floats(-65504, 65504, width=16)),
    hnp.arrays(np.float32, (2, 6), elements=st.floats(-(2.0**16), 2.0**16, width=32)),
    st.sampled_from(["mse", "l1", "kl"]),
    st.sampled_from(["none", "centered", "standardized"]),
)
def test_extreme_and_constant_logits_give_finite_gradients(
    cached, answers, distance, normalization
):
    objective = FiGKDLoss(detail_alone(distance=distance, normalization=normalization), 6)
    labels = torch.tensor([0, 5])
    for values in (answers, np.full_like(answers, answers[0, 0])):
        student = torch.from_numpy(values).requires_grad_()
        loss = objective(student, labels, torch.from_numpy(cached), 1.0).total
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(student.grad).all()


def test_a_wavelet_too_long_for_the_classes_is_refused_before_training():
    with pytest.raises(ParameterError, match="4 classes are too few for db4 at any level"):
        FiGKDLoss(detail_alone(wavelet="db4"), 4)


def test_redrawn_orders_contrast_every_pair_of_classes_alike():
    """A pair's contrast is (a - b) / sqrt(2), so over all pairs its mean square is the variance."""
    student, teacher = batch(1, 12), batch(2, 12)
    objective = FiGKDLoss(detail_alone(redraw=True), 12)
    torch.manual_seed(0)
    drawn = [objective(student, LABELS, teacher, 0.0).parts["detail"].item() for _ in range(600)]
    expected = np.var((student - teacher).numpy(), axis=1, ddof=1).mean()
    assert len(set(drawn)) > 500
    assert np.mean(drawn) == pytest.approx(expected, rel=0.05)


def test_redrawing_draws_the_same_orders_from_the_same_seed():
    objective = FiGKDLoss(detail_alone(redraw=True), CLASSES)
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(objective(batch(1), LABELS, batch(2), 0.0).total.item())
    assert losses[0] == losses[1] != losses[2]


def test_a_share_of_kd_is_that_of_the_standardised_logits():
    student, teacher = batch(1), batch(2)
    options = {"weight": 0.5, "label_weight": 2.0}
    plain = FiGKDLoss(detail_alone(**options), CLASSES)(student, LABELS, teacher, 0.0)
    kd = KDLoss(KD(weight=1.0, label_weight=0.0, standardized=True, temperature=3.0))
    alone = kd(student, LABELS, teacher, 0.0)
    shared = FiGKDLoss(FiGKD(kd_share=4.0, kd_temperature=3.0, **options), CLASSES)
    found = shared(student, LABELS, teacher, 0.0)
    expected = plain.total + 0.5 * 4.0 * alone.total
    assert found.total.item() == pytest.approx(expected.item(), rel=1e-12)
    assert found.parts["divergence"].item() == pytest.approx(alone.total.item(), rel=1e-12)
    assert found.parts["detail"] == plain.parts["detail"]
