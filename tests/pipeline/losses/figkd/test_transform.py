import itertools
import subprocess
import sys

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ParameterError
from pipeline.losses.figkd import transform as transform_module
from pipeline.losses.figkd.transform import ClassAxisDWT, band_energy

WAVELETS = pywt.wavelist(kind="discrete")
MODES = pywt.Modes.modes
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def logits(num_classes, rows=4, seed=0):
    return np.random.default_rng(seed).normal(0, 5, (rows, num_classes))


def deepest(num_classes, wavelet):
    return pywt.dwt_max_level(num_classes, pywt.Wavelet(wavelet).dec_len)


def legal_combinations(num_classes, modes):
    for wavelet, mode in itertools.product(WAVELETS, modes):
        for level in range(1, deepest(num_classes, wavelet) + 1):
            yield wavelet, mode, level


def largest_errors(num_classes, wavelet, mode, level):
    """Largest difference from PyWavelets, over the largest coefficient, by dtype."""
    values = logits(num_classes, rows=2)
    expected = np.concatenate(pywt.wavedec(values, wavelet, mode=mode, level=level), axis=1)
    transform = ClassAxisDWT(num_classes, wavelet, level, mode, "all")
    errors = {}
    for dtype in TOLERANCE:
        found = transform(torch.from_numpy(values).to(dtype))
        assert found.dtype == dtype
        errors[dtype] = np.abs(found.double().numpy() - expected).max() / np.abs(expected).max()
    return errors


@pytest.fixture(params=["dense", "convolution"])
def method(request, monkeypatch):
    """Computes the transform either way for any number of classes."""
    dense_classes = {"dense": 10_000, "convolution": 0}[request.param]
    monkeypatch.setattr(transform_module, "DENSE_CLASSES", dense_classes)
    return request.param


def grid():
    """Class counts and modes; the quick tests take a third of the modes of each large count."""
    yield from ((count, MODES) for count in (2, 3, 5, 8, 37))
    for first, count in enumerate((100, 200, 257)):
        quick = MODES[first::3]
        yield count, quick
        others = [mode for mode in MODES if mode not in quick]
        yield pytest.param(count, others, marks=pytest.mark.slow)


@pytest.mark.parametrize(("num_classes", "modes"), grid())
def test_every_legal_combination_equals_pywavelets(method, num_classes, modes):
    wrong = {}
    for combination in legal_combinations(num_classes, modes):
        errors = largest_errors(num_classes, *combination)
        if any(errors[dtype] > tolerance for dtype, tolerance in TOLERANCE.items()):
            wrong[combination] = errors
    assert wrong == {}


@pytest.mark.parametrize("num_classes", [1024, 1025, 2051])
@pytest.mark.parametrize("wavelet", ["haar", "bior2.2", "db8"])
def test_every_mode_equals_pywavelets_on_thousands_of_classes(num_classes, wavelet):
    for mode in MODES:
        for level in {1, deepest(num_classes, wavelet)}:
            errors = largest_errors(num_classes, wavelet, mode, level)
            assert errors[torch.float64] < 1e-11, (mode, level)
            assert errors[torch.float32] < 1e-5, (mode, level)


def test_twenty_thousand_classes_need_no_memory_of_classes_squared():
    # In a process of its own, for its peak memory. A float32 matrix would have 800 MB.
    script = """
import resource, torch
from pipeline.losses import FiGKDLoss
student = torch.randn(16, 20_000, requires_grad=True)
labels = torch.arange(16)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for options in ({"level": "max", "bands": "all"}, {"wavelet": "db4"}, {"wavelet": "coif17"}):
    loss = FiGKDLoss(20_000, class_order=list(reversed(range(20_000))), **options)
    loss(student, student.detach() * 0.5, labels).backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert int(done.stdout) < 200  # MB


def test_bands_are_those_of_pywavelets_by_name():
    values = logits(37)
    content, *details = pywt.wavedec(values, "db2", mode="reflect", level=3)
    transform = ClassAxisDWT(37, "db2", 3, "reflect", "all")
    bands = transform.split(transform(torch.from_numpy(values)))
    assert list(bands) == ["content", "detail3", "detail2", "detail1"]
    for found, expected in zip(bands.values(), [content, *details], strict=True):
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("bands", ["detail", "content"])
def test_a_selection_has_only_its_bands(bands):
    values = torch.from_numpy(logits(37))
    everything = ClassAxisDWT(37, "db2", 3, bands="all")
    every_band = everything.split(everything(values))
    transform = ClassAxisDWT(37, "db2", 3, bands=bands)
    selected = transform.split(transform(values))
    names = {"detail": ["detail3", "detail2", "detail1"], "content": ["content"]}[bands]
    assert list(selected) == names
    for name in names:
        torch.testing.assert_close(selected[name], every_band[name], rtol=0, atol=1e-12)


def test_haar_detail_is_the_difference_of_neighbors():
    found = ClassAxisDWT(4, "haar")(torch.tensor([[3.0, 1.0, -2.0, 5.0]]))
    torch.testing.assert_close(found, torch.tensor([[2.0, -7.0]]) / 2**0.5)


@given(
    st.sampled_from(WAVELETS),
    st.sampled_from(MODES),
    st.integers(2, 130),
    st.integers(0, 4),
)
def test_a_level_above_the_maximum_is_refused_with_the_maximum(wavelet, mode, num_classes, deeper):
    most = deepest(num_classes, wavelet)
    allowed = rf"level {most + 1 + deeper}.*{num_classes} classes.* 1 to {most} "
    with pytest.raises(ParameterError, match=allowed):
        ClassAxisDWT(num_classes, wavelet, most + 1 + deeper, mode)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 0}, r"level 0.*8 classes.*1 to 3"),
        ({"level": -1}, "wavelet level -1"),
        ({"wavelet": "harr"}, r"wavelet.*'harr'.*haar"),
        ({"wavelet": "morl"}, "wavelet.*'morl'"),
        ({"mode": "symetric"}, "padding.*'symetric'.*symmetric"),
        ({"level": "max", "wavelet": "db8"}, r"8 classes .* 1 to 0 for db8"),
        ({"order": [0, 1, 2, 3, 4, 5, 6, 6]}, "class order.*permutation.* 7"),
        ({"order": [1, 2, 3, 4, 5, 6, 7, 8]}, "class order.*permutation.* 7"),
        ({"order": [0, 1, 2]}, "class order.*permutation.* 7"),
    ],
)
def test_impossible_options_are_refused_by_name(options, message):
    with pytest.raises(ParameterError, match=message):
        ClassAxisDWT(8, **options)


@pytest.mark.parametrize("wavelet", ["haar", "db3"])
@pytest.mark.parametrize("num_classes", [10, 37, 300])
def test_level_max_is_the_maximum_of_pywavelets(num_classes, wavelet):
    values = logits(num_classes)
    expected = pywt.wavedec(values, wavelet, "reflect")  # at the maximum level by default
    transform = ClassAxisDWT(num_classes, wavelet, "max", "reflect", "all")
    found = transform(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), atol=1e-10)
    assert transform.level == len(expected) - 1


@pytest.mark.parametrize(
    ("num_classes", "wavelet", "level", "mode"),
    [
        (13, "haar", 3, "zero"),
        (13, "db2", 2, "symmetric"),
        (13, "bior2.2", 1, "antireflect"),
        (26, "db3", 2, "smooth"),
        (30, "coif1", 2, "periodization"),
    ],
)
def test_gradients_equal_finite_differences(method, num_classes, wavelet, level, mode):
    order = list(range(num_classes - 1, -1, -1))
    transform = ClassAxisDWT(num_classes, wavelet, level, mode, "detail", order)
    inputs = torch.from_numpy(logits(num_classes, rows=2)).requires_grad_()
    assert torch.autograd.gradcheck(transform, (inputs,))
    assert torch.autograd.gradgradcheck(lambda x: transform(x) ** 3, (inputs[:1],))


ORTHOGONAL = [name for name in WAVELETS if pywt.Wavelet(name).orthogonal]
# Meyer's wavelet has no finite filter; "dmey" is only approximately orthogonal.
ENERGY_TOLERANCE = {"dmey": 1e-2}


@pytest.mark.parametrize("level", [1, 3])
def test_orthogonal_wavelets_under_periodization_keep_the_energy(level):
    for wavelet in ORTHOGONAL:
        taps = pywt.Wavelet(wavelet).dec_len
        if level > 1 and taps > 16:
            continue
        num_classes = taps * 2**level
        values = torch.from_numpy(logits(num_classes))
        everything, detail, content = (
            ClassAxisDWT(num_classes, wavelet, level, "periodization", bands)(values)
            for bands in ("all", "detail", "content")
        )
        tolerance = {"rtol": ENERGY_TOLERANCE.get(wavelet, 1e-8), "atol": 0, "msg": wavelet}
        energy = values.square().sum(1)
        parts = detail.square().sum(1) + content.square().sum(1)
        torch.testing.assert_close(everything.square().sum(1), energy, **tolerance)
        torch.testing.assert_close(parts, energy, **tolerance)


@pytest.mark.parametrize("num_classes", [11, 2100])
@given(seed=st.integers(0, 1000), wavelet=st.sampled_from(["haar", "db2", "rbio1.3"]))
def test_a_class_order_is_a_permutation_of_the_logits(num_classes, seed, wavelet):
    order = np.random.default_rng(seed).permutation(num_classes).tolist()
    values = torch.from_numpy(logits(num_classes))
    ordered = ClassAxisDWT(num_classes, wavelet, order=order)(values)
    permuted = ClassAxisDWT(num_classes, wavelet)(values[:, order])
    torch.testing.assert_close(ordered, permuted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_classes", [37, 2100])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_are_transformed_in_float32(num_classes, dtype):
    half = torch.from_numpy(logits(num_classes)).to(dtype)
    expected = ClassAxisDWT(num_classes, "db3", 2)(half.double())
    transform = ClassAxisDWT(num_classes, "db3", 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = [transform(half), transform(half.float())]
    for found in (transform(half), *under_autocast):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("num_classes", [37, 2100])
def test_float64_stays_exact_after_other_types_have_been_transformed(num_classes):
    values = torch.from_numpy(logits(num_classes))
    fresh = ClassAxisDWT(num_classes, "db3", 2)(values)
    transform = ClassAxisDWT(num_classes, "db3", 2)
    transform(values.float())
    transform.half()(values.half())
    assert torch.equal(transform(values), fresh)


@pytest.mark.parametrize("num_classes", [8, 2100])
def test_any_leading_dimensions_are_kept(num_classes):
    values = torch.from_numpy(logits(num_classes, rows=6))
    transform = ClassAxisDWT(num_classes, "db2")
    expected = transform(values)
    folded = values.reshape(2, 3, -1)
    torch.testing.assert_close(transform(folded), expected.reshape(2, 3, -1))
    torch.testing.assert_close(transform(values[0]), expected[0])
    torch.testing.assert_close(transform(values.t().contiguous().t()), expected)
    assert transform(values[:0]).shape == (0, expected.shape[1])


def test_the_transform_adds_nothing_to_saved_weights():
    assert ClassAxisDWT(8).state_dict() == {}
    assert list(ClassAxisDWT(8).parameters()) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("num_classes", [37, 2100])
def test_a_gpu_gives_the_coefficients_and_gradients_of_the_cpu(num_classes):
    transform = ClassAxisDWT(num_classes, "db3", 2)
    results = []
    for device in ("cpu", "cuda"):
        inputs = torch.from_numpy(logits(num_classes)).to(device).requires_grad_()
        found = transform(inputs)
        found.square().sum().backward()
        results.append((found.detach().cpu(), inputs.grad.cpu()))
    torch.testing.assert_close(*results)


def test_band_energies_are_fractions_of_the_energy_of_the_logits():
    values = torch.from_numpy(logits(24))
    order = np.random.default_rng(2).permutation(24)
    fractions = band_energy(
        values + 7.0, ClassAxisDWT(24, "db2", 2, "periodization", "all", order.tolist())
    )
    assert list(fractions) == ["content", "detail2", "detail1"]
    centered = values.numpy() - values.numpy().mean(axis=1, keepdims=True)
    bands = pywt.wavedec(centered[:, order], "db2", "periodization", 2)
    for fraction, band in zip(fractions.values(), bands, strict=True):
        assert fraction == pytest.approx((band**2).sum() / (centered**2).sum(), rel=1e-10)
    assert sum(fractions.values()) == pytest.approx(1, rel=1e-12)


def test_an_order_moves_energy_between_content_and_detail():
    def detail(values, order):
        return band_energy(values, ClassAxisDWT(4, bands="all", order=order))["detail1"]

    values = torch.tensor([[3.0, 3.0, -1.0, -1.0]])
    assert (detail(values, None), detail(values, [0, 2, 1, 3])) == (0.0, 1.0)
    # Over all orders of n classes one level of haar's detail has (n / 2) / (n - 1) of the energy.
    uneven = torch.tensor([[3.0, 1.0, -1.0, 5.0]])
    fractions = [detail(uneven, order) for order in itertools.permutations(range(4))]
    assert np.mean(fractions) == pytest.approx(2 / 3)


def test_equal_logits_have_no_energy():
    assert band_energy(torch.full((2, 4), 3.0), ClassAxisDWT(4, bands="all")) == {
        "content": 0.0,
        "detail1": 0.0,
    }
