import numpy as np
import torch

from pipeline.logit_cache import open_logit_cache, open_packed_views
from pipeline.views import make_views
from tests.pipeline.logit_cache.small_cache import (
    CLASSES,
    CPU,
    IMAGES,
    RECIPE,
    SIZE,
    key_of,
    teacher,
    write,
)
from tests.prepared_data import write_prepared, write_unlabelled

OTHERS = 6


def test_images_without_labels_follow_the_others(tmp_path):
    """Their logits equal those of the teacher, and those of the others do not change."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (IMAGES + OTHERS, SIZE, SIZE, 3), dtype=np.uint8)
    labels = rng.integers(0, len(CLASSES), IMAGES)
    data = write_prepared(tmp_path / "plain", CLASSES, {"train": (pixels[:IMAGES], labels)})
    _, plain = write(tmp_path / "plain_logits", data, dtype="float32", pack_views=True)
    known = open_logit_cache(tmp_path / "plain_logits", key_of(data))

    more = write_prepared(tmp_path / "more", CLASSES, {"train": (pixels[:IMAGES], labels)})
    more = write_unlabelled(more, pixels[IMAGES:])
    # Batches of 4 have images of both kinds.
    key, info = write(tmp_path / "logits", more, dtype="float32", pack_views=True)
    cached = open_logit_cache(tmp_path / "logits", key)
    packed = open_packed_views(tmp_path / "logits", SIZE)
    assert info.shape == (3, IMAGES + OTHERS, len(CLASSES))
    assert info.train_accuracy == plain.train_accuracy
    np.testing.assert_allclose(cached[:, :IMAGES], known, rtol=1e-5, atol=1e-5)
    for view in range(3):
        exact = make_views(pixels, np.arange(IMAGES + OTHERS), view, RECIPE, CPU)
        seen = torch.from_numpy(packed[view].astype(np.float32) / 255).permute(0, 3, 1, 2)
        assert (seen - exact).abs().max() <= 0.5 / 255 + 1e-6
        with torch.inference_mode():
            logits = teacher()(seen).numpy()
        np.testing.assert_allclose(cached[view], logits, rtol=1e-5, atol=1e-5)
