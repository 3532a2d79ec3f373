import pytest

from pipeline.data import lost_images
from pipeline.data.lost_images import check_lost
from pipeline.data.sources import ImageDataset, PassedOver, Sample
from pipeline.errors import DataError


def dataset(*passed_over, images=18):
    samples = tuple(
        Sample(f"{name}/{number}.jpg", f"{name}/{number}.jpg", label)
        for label, name in enumerate(("cat", "dog"))
        for number in range(images)
    )
    return ImageDataset("folder", ("cat", "dog"), samples, "CC0", "here", passed_over)


def images(count, label, suffix=".cr2"):
    return [PassedOver(f"x/{n}{suffix}", is_image=True, label=label) for n in range(count)]


def test_a_class_may_lose_a_tenth_of_its_images(monkeypatch):
    check_lost(dataset(*images(2, 0)), [], max_loss=0.1)
    with pytest.raises(DataError) as caught:
        check_lost(dataset(*images(3, 1)), [], max_loss=0.1)
    message = str(caught.value)
    for words in ("'dog'", "3 of 21", "3 .cr2", "prepare.max_loss"):
        assert words in message
    check_lost(dataset(*images(3, 1)), [], max_loss=0.2)


def test_unusable_images_and_images_that_are_not_read_add_up():
    of = dataset(*images(1, 0))
    check_lost(of, of.samples[:0], max_loss=0.1)
    with pytest.raises(DataError, match=r"'cat': loses 2 of 19 .*1 \.cr2.*unusable: 1 \.jpg"):
        check_lost(of, of.samples[:1], max_loss=0.1)


def test_the_class_that_loses_most_is_named_with_the_number_of_others():
    with pytest.raises(DataError, match=r"'dog': loses 9 of 27.*1 more class"):
        check_lost(dataset(*images(5, 0), *images(9, 1)), [], max_loss=0.1)


def test_annotations_and_images_outside_of_class_folders_do_not_count():
    others = [PassedOver(f"cat/{n}.xml", is_image=False, label=0) for n in range(18)]
    outside = [PassedOver(f"{n}.cr2", is_image=True) for n in range(18)]
    check_lost(dataset(*others, *outside), [], max_loss=0)


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("pipeline.data.sources.passed_over.readable_formats", lambda: ("JPEG",))
    with pytest.raises(DataError) as caught:
        lost_images.check_lost(dataset(*images(9, 0, ".HEIC")), [], max_loss=0.1)
    assert "9 .heic" in str(caught.value) and "install the package pillow-heif" in str(caught.value)
