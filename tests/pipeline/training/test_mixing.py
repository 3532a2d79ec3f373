import numpy as np
import pytest
import torch
from scipy.stats import beta, binomtest, kstest

from pipeline.data.prepared import Split
from pipeline.errors import ParameterError
from pipeline.losses import CrossEntropy
from pipeline.params import Distill, Finetune, Recipe, Views
from pipeline.training.loop import train
from pipeline.training.mixing import sample_mix
from pipeline.training.task import TrainingEnvironment, TrainingTask
from pipeline.training.teacher import CachedTeacher, LiveTeacher
from tests.pipeline.training.small_training import (
    CLASSES,
    SIZE,
    network,
    random_split,
    small_task,
)
from tests.pipeline.training.toy_models import RecordingLoss

CPU = torch.device("cpu")
PLAIN = Views(crop_scale=1, crop_ratio=1, horizontal_flip=False, brightness=0, contrast=0)
BATCH = np.array([2, 3, 5, 8, 13, 21])


def recipe(**changes):
    values = {"epochs": 1, "batch_size": 6, "lr": 0.05, "weight_decay": 0.0, "precision": "fp32"}
    return Recipe(**{**values, **changes})


def mixes(count, size=32, **changes):
    settings = recipe(**changes)
    return [sample_mix(settings, BATCH, size, (0, 1, step)) for step in range(1, count + 1)]


@pytest.mark.parametrize("method", ["mixup", "cutmix"])
def test_images_of_another_size_are_mixed_in_the_same_part_of_their_area(method):
    for mix in mixes(20, **{method: 1.0}):
        small, large = (
            mix.blend(torch.zeros(1, 3, s, s), torch.ones(1, 3, s, s)) for s in (32, 96)
        )
        assert torch.equal(large[:, :, 1::3, 1::3], small)
        assert large.mean() == pytest.approx(1 - mix.lam, abs=1e-6)


def test_cutmix_of_rectangles_pastes_rectangles_of_their_shape():
    """Those that the border does not clip; also at another size."""
    whole = 0
    for mix in mixes(60, size=(24, 48), cutmix=1.0):
        top, bottom, left, right = mix.box
        assert 0 <= top <= bottom <= 24 and 0 <= left <= right <= 48
        if top > 0 and bottom < 24 and left > 0 and right < 48:
            assert abs((right - left) - 2 * (bottom - top)) <= 2
            whole += 1
        small, large = (
            mix.blend(torch.zeros(1, 3, 24 * k, 48 * k), torch.ones(1, 3, 24 * k, 48 * k))
            for k in (1, 3)
        )
        assert torch.equal(large[:, :, 1::3, 1::3], small)
        assert large.mean() == pytest.approx(1 - mix.lam, abs=1e-6)
    assert whole > 5


def test_no_mix_if_disabled():
    assert sample_mix(recipe(), BATCH, 32, (0, 0, 1)) is None


def test_mix_depends_only_on_its_key():
    settings = recipe(mixup=0.4, cutmix=1.0)
    first, again = (sample_mix(settings, BATCH, 32, (7, 2, 5)) for _ in range(2))
    assert (first.lam, first.box) == (again.lam, again.box)
    np.testing.assert_array_equal(first.partners, again.partners)
    others = [sample_mix(settings, BATCH, 32, m).lam for m in ((8, 2, 5), (7, 3, 5), (7, 2, 6))]
    assert len({first.lam, *others}) == 4


@pytest.mark.parametrize("method", ["mixup", "cutmix"])
def test_partners_are_a_random_permutation(method):
    sample = mixes(200, **{method: 1.0})
    pairs = {(own, other) for mix in sample for own, other in zip(BATCH, mix.partners, strict=True)}
    assert all(sorted(mix.partners) == BATCH.tolist() for mix in sample)
    assert len(pairs) == len(BATCH) ** 2
    some = BATCH[[1, 4]]
    np.testing.assert_array_equal(sample[0].partners_of(some), sample[0].partners[[1, 4]])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_lambda_is_beta_distributed(alpha):
    lambdas = [mix.lam for mix in mixes(400, mixup=alpha)]
    assert kstest(lambdas, beta(alpha, alpha).cdf).pvalue > 1e-3


def test_mixup_and_cutmix_are_equally_likely():
    cut = sum(mix.box is not None for mix in mixes(300, mixup=0.2, cutmix=1.0))
    assert binomtest(cut, 300).pvalue > 1e-3


def test_mixup_blends_every_pixel():
    dark, bright = (torch.full((6, 3, 32, 32), level) for level in (0.25, 0.75))
    for mix in mixes(5, mixup=1.0):
        expected = torch.full_like(dark, 0.75 - 0.5 * mix.lam)
        torch.testing.assert_close(mix.blend(dark, bright), expected)


def test_cutmix_pastes_a_rectangle_of_area_one_minus_lambda():
    own, partners = torch.zeros(6, 3, 32, 32), torch.ones(6, 3, 32, 32)
    pasted, lambdas = torch.zeros(32, 32), []
    for mix in mixes(300, cutmix=1.0):
        found = mix.blend(own, partners)
        assert (found == found[0, 0]).all()
        mask = found[0, 0]
        rows, columns = mask.any(dim=1), mask.any(dim=0)
        torch.testing.assert_close(mask, torch.outer(rows.float(), columns.float()))
        assert 1 - mask.mean().item() == pytest.approx(mix.lam)
        sides = sorted((int(rows.sum()), int(columns.sum())))
        ends = (rows[0], rows[-1], columns[0], columns[-1])
        assert sides[1] - sides[0] <= 1 or any(ends)  # a square, unless the border clips it
        pasted += mask
        lambdas.append(mix.lam)
    # Rectangles of all sizes reach every pixel.
    assert pasted.min() > 20
    assert min(lambdas) < 0.1
    assert max(lambdas) > 0.9
    assert (own == 0).all()


class Gray(torch.nn.Module):
    """Outputs the mean brightness of each image for every class."""

    def __init__(self):
        super().__init__()
        self.idle = torch.nn.Parameter(torch.zeros(CLASSES))

    def forward(self, pixels):
        # 0.25 and 0.5 undo the normalization of the small network.
        return 0 * self.idle + (pixels.mean(dim=(1, 2, 3)) * 0.25 + 0.5)[:, None]


def gray_split(levels):
    levels = np.array(levels, np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (len(levels), SIZE, SIZE, 3))
    return Split(np.array(images), levels.astype(np.int64))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("changes", [{"mixup": 1.0}, {"cutmix": 1.0}])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_pixels_and_labels_are_mixed_with_the_same_weight(changes, packed, accumulate):
    """The label of an image is its brightness, so mixed labels must equal the mixed brightness."""
    split, model, recorder = gray_split([0, 40, 80, 120, 160, 200, 240]), network(), RecordingLoss()
    model.backbone = Gray()
    pixels = split.images[None] if packed else None
    teacher = CachedTeacher(np.zeros((1, 7, CLASSES), np.float32), pixels)
    settings = recipe(**changes, batch_size=7, accumulate=accumulate, epochs=3)
    task = TrainingTask(settings, recorder, split, gray_split([0, 1]), PLAIN, teacher)
    result = train(model, task, TrainingEnvironment(CPU, 1))
    losses, mixed = {1: [], 2: [], 3: []}, 0
    for (student, own, _, progress), (again, other, *_) in zip(
        recorder.calls[::2], recorder.calls[1::2], strict=True
    ):
        torch.testing.assert_close(student, again)
        found = 255 * student[:, 0]
        different = own != other
        weights = ((found - other) / (own - other))[different]
        if len(weights):
            mixed += 1
            torch.testing.assert_close(weights, weights[:1].expand_as(weights), atol=1e-3, rtol=0)
        losses[int(progress) + 1].append((found.mean().item(), len(found)))
    assert mixed >= 3
    for epoch in result.history:
        brightness, sizes = zip(*losses[epoch.epoch], strict=True)
        assert epoch.loss == pytest.approx(np.average(brightness, weights=sizes), rel=1e-4)
        assert epoch.terms["quarter"] == pytest.approx(epoch.loss / 4)


def test_gradient_accumulation_of_mixed_images_equals_the_full_batch():
    def linear():
        model = network()
        torch.manual_seed(3)
        model.backbone = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(3 * SIZE * SIZE, CLASSES)
        )
        return model

    split, val = random_split(20, seed=1), random_split(9, seed=2)
    full, accumulated = (
        train(
            linear(),
            TrainingTask(
                recipe(epochs=2, batch_size=8, mixup=0.5, cutmix=0.5, accumulate=accumulate),
                CrossEntropy(),
                split,
                val,
                Views(),
            ),
            TrainingEnvironment(CPU, 0),
        )
        for accumulate in (1, 3)
    )
    for name, tensor in full.model.state_dict().items():
        torch.testing.assert_close(
            accumulated.model.state_dict()[name], tensor, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("method", ["mixup", "cutmix"])
def test_mixing_with_cached_logits_raises_before_training(method):
    settings = Distill(epochs=1, batch_size=6, lr=0.1, weight_decay=0.0, **{method: 0.2})
    cache, recorder = (
        CachedTeacher(np.zeros((1, 6, CLASSES), np.float32)),
        RecordingLoss(needs_teacher=True),
    )
    task = small_task(recorder, settings, images=6, teacher=cache)
    expected = rf"distill\.{method} = 0\.2: .*distill\.{method} to 0.*cache_logits\.views to 0"
    with pytest.raises(ParameterError, match=expected):
        train(network(), task, TrainingEnvironment(CPU, 0))
    assert recorder.calls == []


def test_mixing_is_allowed_without_cached_logits():
    settings = Finetune(epochs=1, batch_size=6, lr=0.1, weight_decay=0.0, mixup=0.2)
    cache = CachedTeacher(np.zeros((1, 6, CLASSES), np.float32))
    small_task(CrossEntropy(), settings, images=6, teacher=cache).check(CLASSES)
    live = LiveTeacher(network().eval())
    small_task(RecordingLoss(needs_teacher=True), settings, images=6, teacher=live).check(CLASSES)
