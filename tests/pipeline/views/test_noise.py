import numpy as np
from scipy import stats

from pipeline.params import Views
from tests.pipeline.views.view_helpers import NOTHING, views_of

GRAY = np.full((400, 24, 24, 3), 128, np.uint8)  # far from 0 and 1, where pixels are clipped


def added(maximum, view=0, seed=0):
    views = views_of(GRAY, Views(**NOTHING, noise=maximum, seed=seed), view)
    return views.astype(np.float64) - 128 / 255


def test_noise_is_gaussian_with_deviations_uniform_up_to_the_maximum_in_half_of_the_views():
    noise = added(0.1)
    deviations = noise.std(axis=(1, 2, 3))
    noisy = deviations > 1e-4
    low, high = stats.binom.interval(0.999, len(GRAY), 0.5)
    assert low <= noisy.sum() <= high
    uniform = stats.kstest(deviations[noisy] / 0.1, "uniform")
    assert uniform.pvalue > 0.001
    strongest = noise[deviations.argmax()].ravel()
    assert stats.kstest(strongest / strongest.std(), "norm").pvalue > 0.001
    assert abs(strongest.mean()) < 4 * strongest.std() / np.sqrt(strongest.size)


def test_noise_of_pixels_channels_views_and_images_is_uncorrelated():
    noise = added(0.1)
    strong = noise[noise.std(axis=(1, 2, 3)) > 0.03]
    right, below = strong[:, :, 1:], strong[:, 1:]
    pairs = {
        "right": (strong[:, :, :-1], right),
        "below": (strong[:, :-1], below),
        "channel": (strong[..., 0], strong[..., 1]),
        "image": (strong[:-1], strong[1:]),
    }
    other = added(0.1, view=1)
    both = (noise.std(axis=(1, 2, 3)) > 0.03) & (other.std(axis=(1, 2, 3)) > 0.03)
    pairs["view"] = (noise[both], other[both])
    for name, (one, two) in pairs.items():
        assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.02, name
