"""The first look at images that need attention."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.audit import examine
from pipeline.data.decoding import decode
from pipeline.data.sources import read_source
from pipeline.new_project.first_look import describe_images
from pipeline.params.prepare import prepare_model
from tests.damaged_images import draw, np


def test_of_many_classes_the_smallest_and_the_largest_are_listed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(23):
        folder = tmp_path / f"photos/class{number:02}"
        folder.mkdir(parents=True)
        for image in range(2 if number == 7 else 1):
            draw(rng, 120 if number == 3 else 60, 20 if number == 3 else 44).save(
                folder / f"{image}.png"
            )
    dataset = read_source(prepare_model()(source="folder", path=str(tmp_path / "photos")))
    decoded = decode(dataset.samples, tmp_path / "work", image_size=32, fit="crop", workers=1)
    lines = list(describe_images(examine(dataset, decoded, near_distance=0)))
    assert lines[0] == "24 images of 23 classes"
    shown = [line.split() for line in lines if line.startswith("  class")]
    assert len(shown) == 20 and shown[-1] == ["class07", "2"]
    assert any("3 more classes" in line for line in lines)
    assert "sizes: 120 x 20 to 60 x 44 pixels, median 60 x 44" in lines
    assert any("class03/0.png" in line and "longer than wide" in line for line in lines)
