"""Random images, and recipes without or with all augmentations."""

import numpy as np
import torch

from pipeline.views import make_views

CPU = torch.device("cpu")
NOTHING = {
    "crop_scale": 1.0,
    "crop_ratio": 1.0,
    "horizontal_flip": False,
    "brightness": 0.0,
    "contrast": 0.0,
}
EVERYTHING = {
    "crop_scale": 0.5,
    "vertical_flip": True,
    "quarter_turns": True,
    "saturation": 0.3,
    "hue": 0.2,
    "auto": "rand",
    "erase": 0.5,
}
FIELD = {
    "rotate": 20.0,
    "perspective": 0.3,
    "shadow": 0.5,
    "defocus": 0.1,
    "motion_blur": 0.2,
    "noise": 0.1,
    "jpeg_quality": 30,
}


def noise(count, size=16, low=0, high=256):
    return np.random.default_rng(3).integers(low, high, (count, size, size, 3), dtype=np.uint8)


def views_of(images, recipe, view=0, ids=None):
    """Float [n, size, size, 3], to be compared with images."""
    ids = np.arange(len(images)) if ids is None else ids
    return make_views(images, ids, view, recipe, CPU).permute(0, 2, 3, 1).numpy()
