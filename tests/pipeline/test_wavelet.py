import itertools

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ParameterError
from pipeline.wavelet import ClassAxisDWT, max_level

WAVELETS = pywt.wavelist(kind="discrete")
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def logits(num_classes, rows=4, seed=0):
    return np.random.default_rng(seed).normal(0, 5, (rows, num_classes))


def deepest(num_classes, wavelet):
    return pywt.dwt_max_level(num_classes, pywt.Wavelet(wavelet).dec_len)


def legal_combinations(num_classes, wavelets=WAVELETS):
    for wavelet, mode in itertools.product(wavelets, pywt.Modes.modes):
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


def assert_equals_pywavelets(num_classes, wavelets=WAVELETS):
    wrong = {}
    for combination in legal_combinations(num_classes, wavelets):
        errors = largest_errors(num_classes, *combination)
        if any(errors[dtype] > tolerance for dtype, tolerance in TOLERANCE.items()):
            wrong[combination] = errors
    assert wrong == {}


@pytest.mark.parametrize("num_classes", [2, 3, 5, 8, 37])
def test_every_legal_combination_equals_pywavelets(num_classes):
    assert_equals_pywavelets(num_classes)


@pytest.mark.parametrize("num_classes", [100, 257])
def test_some_wavelets_of_every_family_equal_pywavelets_on_many_classes(num_classes):
    assert_equals_pywavelets(num_classes, ["haar", "db3", "sym5", "coif2", "bior3.5", "rbio3.1"])


@pytest.mark.slow
@pytest.mark.parametrize("num_classes", [100, 200, 257])
def test_every_legal_combination_equals_pywavelets_on_many_classes(num_classes):
    assert_equals_pywavelets(num_classes)


def test_bands_are_those_of_pywavelets_by_name():
    values = logits(37)
    content, *details = pywt.wavedec(values, "db2", mode="reflect", level=3)
    transform = ClassAxisDWT(37, "db2", 3, "reflect", "all")
    bands = transform.split(transform(torch.from_numpy(values)))
    assert list(bands) == ["content", "detail3", "detail2", "detail1"]
    for found, expected in zip(bands.values(), [content, *details], strict=True):
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("bands", ["detail", "content"])
def test_a_selection_holds_just_its_bands(bands):
    values = torch.from_numpy(logits(37))
    everything = ClassAxisDWT(37, "db2", 3, bands="all")
    every_band = everything.split(everything(values))
    transform = ClassAxisDWT(37, "db2", 3, bands=bands)
    selected = transform.split(transform(values))
    names = {"detail": ["detail3", "detail2", "detail1"], "content": ["content"]}[bands]
    assert list(selected) == names
    for name in names:
        torch.testing.assert_close(selected[name], every_band[name], rtol=0, atol=1e-12)


def test_haar_detail_is_the_contrast_of_two_neighbours():
    found = ClassAxisDWT(4, "haar")(torch.tensor([[3.0, 1.0, -2.0, 5.0]]))
    torch.testing.assert_close(found, torch.tensor([[2.0, -7.0]]) / 2**0.5)


@given(
    st.sampled_from(WAVELETS),
    st.sampled_from(pywt.Modes.modes),
    st.integers(2, 130),
    st.integers(0, 4),
)
def test_a_level_deeper_than_the_maximum_is_refused_with_the_maximum(
    wavelet, mode, num_classes, deeper
):
    most = deepest(num_classes, wavelet)
    allowed = f"{num_classes} classes " + (f"allow 1 to {most} " if most else "are too few ")
    with pytest.raises(ParameterError, match=allowed):
        ClassAxisDWT(num_classes, wavelet, most + 1 + deeper, mode)
    assert max_level(num_classes, wavelet) == most


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 0}, "wavelet level 0: 8 classes allow 1 to 3"),
        ({"level": -1}, "wavelet level -1"),
        ({"wavelet": "haarr"}, "'haarr': is no discrete wavelet"),
        ({"wavelet": "morl"}, "'morl': is no discrete wavelet"),
        ({"mode": "mirror"}, "padding mode 'mirror': PyWavelets has zero, .*reflect"),
        ({"order": [0, 1, 2, 3, 4, 5, 6, 6]}, "is no permutation of 0 … 7"),
        ({"order": [1, 2, 3, 4, 5, 6, 7, 8]}, "is no permutation of 0 … 7"),
        ({"order": [0, 1, 2]}, "is no permutation of 0 … 7"),
    ],
)
def test_impossible_options_are_refused_by_name(options, message):
    with pytest.raises(ParameterError, match=message):
        ClassAxisDWT(8, **options)


@pytest.mark.parametrize(
    ("wavelet", "level", "mode"),
    [("haar", 3, "zero"), ("db2", 2, "symmetric"), ("bior2.2", 1, "antireflect")],
)
def test_gradients_are_those_of_finite_differences(wavelet, level, mode):
    transform = ClassAxisDWT(13, wavelet, level, mode, "detail", order=list(range(12, -1, -1)))
    inputs = torch.from_numpy(logits(13, rows=2)).requires_grad_()
    assert torch.autograd.gradcheck(transform, (inputs,))


ORTHOGONAL = [name for name in WAVELETS if pywt.Wavelet(name).orthogonal]
# Meyer's wavelet has no finite filter: "dmey" only comes near to orthogonality.
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


@given(st.permutations(range(11)), st.sampled_from(["haar", "db2", "rbio1.3"]))
def test_a_class_order_is_a_permutation_of_the_logits(order, wavelet):
    values = torch.from_numpy(logits(11))
    ordered = ClassAxisDWT(11, wavelet, order=order)(values)
    permuted = ClassAxisDWT(11, wavelet)(values[:, order])
    torch.testing.assert_close(ordered, permuted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_transformed_in_float32(dtype):
    half = torch.from_numpy(logits(37)).to(dtype)
    expected = ClassAxisDWT(37, "db3", 2)(half.double())
    transform = ClassAxisDWT(37, "db3", 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = transform(half)
    for found in (transform(half), under_autocast):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)


def test_float64_stays_exact_after_other_types_have_been_transformed():
    values = torch.from_numpy(logits(37))
    fresh = ClassAxisDWT(37, "db3", 2)(values)
    transform = ClassAxisDWT(37, "db3", 2)
    transform(values.float())
    transform(values.half())
    assert torch.equal(transform(values), fresh)


def test_any_leading_dimensions_are_kept():
    values = torch.from_numpy(logits(8, rows=6))
    transform = ClassAxisDWT(8, "db2")
    expected = transform(values)
    torch.testing.assert_close(transform(values.reshape(2, 3, 8)), expected.reshape(2, 3, -1))
    torch.testing.assert_close(transform(values[0]), expected[0])


def test_the_transform_adds_nothing_to_saved_weights():
    assert ClassAxisDWT(8).state_dict() == {}
    assert list(ClassAxisDWT(8).parameters()) == []
