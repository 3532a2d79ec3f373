import itertools
from types import SimpleNamespace

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

CLASSES = 11
LABELS = torch.tensor([0, 3, 10, 3, 7])
DETAIL_ONLY = {"detail_weight": 1.0, "kd_weight": 0.0}


def batch(seed, classes=CLASSES):
    return torch.from_numpy(np.random.default_rng(seed).normal(1, 4, (len(LABELS), classes)))


def detail_loss(num_classes=CLASSES, **options):
    return FiGKDLoss(num_classes, **{**DETAIL_ONLY, **options})


def reference(student, teacher, labels, order, label_smoothing=0.0, **options):
    """Cross-entropy and distance in NumPy, with the transform of PyWavelets."""
    defaults = {"wavelet": "haar", "mode": "symmetric", "level": 1, "bands": "detail"}
    others = {"normalization": "none", "temperature": 1.0, "distance": "mse"}
    options = SimpleNamespace(**{**defaults, **others, **options})

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
def test_the_loss_equals_the_reference(distance, normalization, bands):
    order = np.random.default_rng(5).permutation(CLASSES).tolist()
    student, teacher = batch(1), batch(2)
    for wavelet, level, mode in [("haar", 3, "zero"), ("db2", 1, "reflect")]:
        options = {
            "wavelet": wavelet,
            "level": level,
            "mode": mode,
            "bands": bands,
            "normalization": normalization,
            "temperature": 2.5,
            "distance": distance,
        }
        loss = detail_loss(
            class_order=order,
            label_smoothing=0.1,
            detail_weight=0.7,
            label_weight=0.4,
            **options,
        )
        terms = loss.terms(student, teacher, LABELS)
        cross_entropy, expected = reference(student, teacher, LABELS, order, 0.1, **options)
        # Standardization adds 1e-7 to a variance of about 16.
        assert terms["detail"].item() == pytest.approx(0.7 * expected, rel=1e-7)
        assert terms["cross_entropy"].item() == pytest.approx(0.4 * cross_entropy, rel=1e-12)
        total = loss(student, teacher, LABELS).item()
        assert total == pytest.approx(0.4 * cross_entropy + 0.7 * expected, rel=1e-7)


@pytest.mark.parametrize("classes", [300, 2100])
@pytest.mark.parametrize("distance", ["mse", "l1", "kl"])
def test_the_loss_of_many_classes_equals_the_reference(classes, distance):
    order = np.random.default_rng(5).permutation(classes).tolist()
    student, teacher = batch(1, classes), batch(2, classes)
    options = {
        "wavelet": "db2",
        "level": 3,
        "mode": "smooth",
        "distance": distance,
        "temperature": 2.0,
    }
    terms = detail_loss(classes, class_order=order, **options).terms(student, teacher, LABELS)
    _, expected = reference(student, teacher, LABELS, order, **options)
    assert terms["detail"].item() == pytest.approx(expected, rel=1e-9)


def test_level_max_is_the_maximum_level():
    student, teacher = batch(1, 37), batch(2, 37)
    deepest = pywt.dwt_max_level(37, 4)
    losses = [
        detail_loss(37, wavelet="db2", level=level)(student, teacher, LABELS).item()
        for level in ("max", deepest, deepest - 1)
    ]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("num_classes", [11, 300])
@pytest.mark.parametrize("distance", ["mse", "l1", "kl"])
@pytest.mark.parametrize("normalization", ["none", "standardized"])
def test_gradients_equal_finite_differences(num_classes, distance, normalization):
    loss = detail_loss(
        num_classes,
        class_order=list(reversed(range(num_classes))),
        wavelet="db2",
        distance=distance,
        normalization=normalization,
        temperature=2.0,
    )
    student = batch(1, num_classes)[:2].requires_grad_()
    teacher = batch(2, num_classes)[:2]

    def value(inputs):
        return loss(inputs, teacher, LABELS[:2])

    assert torch.autograd.gradcheck(value, (student,))
    if num_classes == CLASSES:
        assert torch.autograd.gradgradcheck(value, (student,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("distance", ["mse", "l1", "kl"])
@pytest.mark.parametrize("normalization", ["none", "centered", "standardized"])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_logits_lose_no_precision(dtype, distance, normalization, autocast):
    # Their squares exceed float16, and the 8 bits of bfloat16 are too few for the differences.
    student, teacher = (100 * batch(1)).to(dtype), 100 * batch(2).float()
    options = {"distance": distance, "normalization": normalization, "temperature": 9.0}
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        detail = detail_loss(**options).terms(student, teacher, LABELS)["detail"]
    _, expected = reference(student.double(), teacher.double(), LABELS, range(CLASSES), **options)
    assert detail.dtype == torch.float32
    assert detail.item() == pytest.approx(expected, rel=1e-4)


def detail_gradient(student, teacher, **options):
    """The gradient of the detail term."""
    inputs = student.clone().requires_grad_()
    labels = torch.zeros(len(inputs), dtype=torch.int64)
    loss = detail_loss(inputs.shape[1], label_weight=0.0, **options)
    loss(inputs, teacher, labels).backward()
    return inputs.grad


def band_only_signal(wavelet, level, classes, content):
    """A signal of content only, or of detail only, with periodization."""
    noise = batch(9, classes).numpy()
    kept = pywt.wavedec(noise, wavelet, "periodization", level, axis=1)
    kept = [band if (place == 0) == content else 0 * band for place, band in enumerate(kept)]
    return torch.from_numpy(pywt.waverec(kept, wavelet, "periodization", axis=1))


@pytest.mark.parametrize(("wavelet", "level"), [("haar", 1), ("haar", 3), ("db2", 2)])
@pytest.mark.parametrize("distance", ["mse", "kl"])
def test_a_difference_in_content_alone_has_no_gradient(wavelet, level, distance):
    teacher = batch(2, classes=16)
    student = teacher + band_only_signal(wavelet, level, 16, content=True)
    options = {"wavelet": wavelet, "level": level, "mode": "periodization", "distance": distance}
    assert detail_gradient(student, teacher, **options).abs().max() < 1e-9
    assert detail_gradient(student, teacher, bands="content", **options).abs().max() > 1e-3


def test_a_difference_in_detail_alone_has_no_gradient_in_the_content_band():
    teacher = batch(2, classes=16)
    student = teacher + band_only_signal("db2", 2, 16, content=False)
    options = {"wavelet": "db2", "level": 2, "mode": "periodization"}
    assert detail_gradient(student, teacher, bands="content", **options).abs().max() < 1e-9
    assert detail_gradient(student, teacher, **options).abs().max() > 1e-3


@given(st.floats(-50, 50), st.sampled_from([2, 8, 12]))
def test_haar_ignores_a_constant_shift(shift, classes):
    teacher = batch(2, classes)
    assert detail_gradient(teacher + shift, teacher).abs().max() < 1e-10


@pytest.mark.parametrize("distance", ["mse", "l1", "kl"])
def test_equal_logits_have_no_distance(distance):
    assert detail_gradient(batch(1), batch(1), distance=distance).abs().max() < 1e-12


def test_the_warm_up_scales_both_teacher_terms():
    loss = FiGKDLoss(CLASSES, warmup_epochs=4.0)
    full, scaled = (
        loss.terms(batch(1), batch(2), LABELS, loss.teacher_scale(epoch)) for epoch in (4.0, 0.5)
    )
    assert scaled["cross_entropy"] == full["cross_entropy"]
    for name in ("detail", "kd"):
        assert scaled[name].item() == pytest.approx(0.125 * full[name].item(), rel=1e-12)


def test_without_teacher_weights_it_equals_cross_entropy():
    student, teacher = batch(1).requires_grad_(), batch(2)
    loss = detail_loss(label_smoothing=0.1, detail_weight=0.0)(student, teacher, LABELS)
    plain = CrossEntropy(label_smoothing=0.1)(student, None, LABELS)
    assert loss.item() == plain.item()
    (found,), (expected,) = (torch.autograd.grad(value, student) for value in (loss, plain))
    assert torch.equal(found, expected)


@given(st.permutations(range(CLASSES)), st.sampled_from(["mse", "l1", "kl"]))
def test_a_class_order_equals_permuted_logits(order, distance):
    student, teacher = batch(1), batch(2)
    options = {"wavelet": "db2", "distance": distance, "normalization": "centered"}
    ordered = detail_loss(class_order=order, **options)(student, teacher, LABELS)
    positions = torch.argsort(torch.tensor(order))
    permuted = detail_loss(**options)(student[:, order], teacher[:, order], positions[LABELS])
    torch.testing.assert_close(ordered, permuted, rtol=1e-10, atol=0)


@given(
    hnp.arrays(np.float16, (2, 6), elements=st.floats(-65504, 65504, width=16)),
    hnp.arrays(np.float32, (2, 6), elements=st.floats(-(2.0**16), 2.0**16, width=32)),
    st.sampled_from(["mse", "l1", "kl"]),
    st.sampled_from(["none", "centered", "standardized"]),
)
def test_extreme_and_constant_logits_give_finite_gradients(cached, logits, distance, normalization):
    loss = detail_loss(6, distance=distance, normalization=normalization)
    labels = torch.tensor([0, 5])
    for values in (logits, np.full_like(logits, logits[0, 0])):
        student = torch.from_numpy(values).requires_grad_()
        value = loss(student, torch.from_numpy(cached), labels)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(student.grad).all()


def test_a_wavelet_too_long_for_the_classes_is_refused():
    with pytest.raises(ParameterError, match=r"4 classes .*db4"):
        FiGKDLoss(4, wavelet="db4")


def test_redrawn_orders_contrast_all_pairs_of_classes():
    """A pair's contrast is (a - b) / sqrt(2): its mean square over all pairs is the variance."""
    student, teacher = batch(1, 12), batch(2, 12)
    loss = detail_loss(12, redraw=True)
    torch.manual_seed(0)
    details = [loss.terms(student, teacher, LABELS)["detail"].item() for _ in range(600)]
    expected = np.var((student - teacher).numpy(), axis=1, ddof=1).mean()
    assert len(set(details)) > 500
    assert np.mean(details) == pytest.approx(expected, rel=0.05)


def test_redrawn_orders_follow_from_the_seed_of_torch():
    loss = detail_loss(redraw=True)
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(loss(batch(1), batch(2), LABELS).item())
    assert losses[0] == losses[1] != losses[2]


def test_each_weight_scales_one_term():
    student, teacher = batch(1), batch(2)
    kd = KDLoss(weight=2.0, label_weight=0.0, standardized=True, temperature=3.0)
    detail = detail_loss(detail_weight=0.5).terms(student, teacher, LABELS)
    both = FiGKDLoss(
        CLASSES, detail_weight=0.5, kd_weight=2.0, label_weight=3.0, kd_temperature=3.0
    ).terms(student, teacher, LABELS)
    assert list(both) == ["cross_entropy", "detail", "kd"]
    assert list(detail) == ["cross_entropy", "detail"]
    torch.testing.assert_close(both["cross_entropy"], 3 * detail["cross_entropy"])
    assert both["detail"] == detail["detail"]
    torch.testing.assert_close(both["kd"], kd(student, teacher, LABELS), rtol=1e-12, atol=0)
