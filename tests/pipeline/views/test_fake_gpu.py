"""Views on a GPU that computes no values: devices agree, and the host does not wait for it."""

import numpy as np
import pytest
import torch

from pipeline.params import Views
from pipeline.views import jpeg, make_views
from tests.fake_gpu import GPU, fake_gpu
from tests.pipeline.views.view_helpers import noise

IMAGES, SIZE = 40, 16

RECIPES = {
    "colors": Views(hue=0.1, saturation=0.2, erase=0.5, quarter_turns=True, vertical_flip=True),
    "warps": Views(rotate=10.0, perspective=0.1),
    "TrivialAugment": Views(auto="trivial"),
    "RandAugment": Views(auto="rand"),
    "the field": Views(shadow=0.5, defocus=0.1, motion_blur=0.1, noise=0.1),
}


def views_on_fake_gpu(recipe, side=SIZE):
    with fake_gpu() as waits:
        views = make_views(noise(IMAGES, size=side), np.arange(IMAGES), 0, recipe, GPU, SIZE)
        assert (views.device, views.dtype) == (GPU, torch.float32)
        assert views.shape == (IMAGES, 3, SIZE, SIZE)
        assert views.is_contiguous(memory_format=torch.channels_last)
    return waits


@pytest.mark.parametrize("name", RECIPES)
def test_no_change_waits(name):
    waits = views_on_fake_gpu(RECIPES[name])
    assert (waits.reads, waits.writes) == ([], [])


def test_views_of_larger_images_do_not_wait():
    waits = views_on_fake_gpu(Views(rotate=10.0), 4 * SIZE)
    assert (waits.reads, waits.writes) == ([], [])


def test_jpeg_reads_all_images_at_once(monkeypatch):
    monkeypatch.setattr(jpeg.F, "jpeg", lambda image, quality: image)
    waits = views_on_fake_gpu(Views(jpeg_quality=20))
    assert [place.split(":")[0] for place in waits.reads] == ["views/jpeg.py"]
    assert waits.writes == []
