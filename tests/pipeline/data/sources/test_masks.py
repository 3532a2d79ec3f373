from pathlib import Path

import pytest

from pipeline.data.sources.folder_tree import scan
from pipeline.data.sources.masks import set_masks_aside


def write_images(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def images(root: Path) -> set[str]:
    tree = set_masks_aside(scan(root))
    return {path.relative_to(root).as_posix() for each in tree.walk() for path in each.images}


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        # Breast ultrasound images (BUSI): several masks of one image are numbered.
        ("benign (1).png", "benign (1)_mask.png"),
        ("benign (4).png", "benign (4)_mask_1.png"),
        ("ISIC_0000000.jpg", "ISIC_0000000_segmentation.png"),
        ("leaf.JPG", "leaf-Mask.png"),
        # COVID-19 Radiography Database.
        ("images/COVID-1.png", "masks/COVID-1.png"),
        ("Images/1.jpg", "Segmentation Masks/1_mask.png"),
        ("1.jpg", "mask/1.png"),
    ],
)
def test_masks_beside_their_images_are_set_aside(tmp_path, image, mask):
    write_images(tmp_path, f"a/{image}", f"a/{mask}")
    assert images(tmp_path) == {f"a/{image}"}
    tree = set_masks_aside(scan(tmp_path))
    assert tmp_path / "a" / mask in [path for each in tree.walk() for path in each.others]


@pytest.mark.parametrize(
    "names",
    [
        ("with_mask/1.png", "without_mask/1.png"),  # classes of faces
        ("a/mask.png", "a/1.png"),
        ("a/1_mask.png", "a/2.png"),
        ("mask/1.png", "no mask/1.png"),
        ("a/mask_1.png", "a/1.png"),
        ("a/damask.png", "a/da.png"),
    ],
)
def test_other_images_stay(tmp_path, names):
    write_images(tmp_path, *names)
    assert images(tmp_path) == set(names)
