"""Stanford Dogs: 20,580 photographs of 120 breeds, out of ImageNet.

Khosla et al., "Novel Dataset for Fine-Grained Image Categorization", FGVC 2011. Publishes train and
test.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.data.sources.photos import Photo, Source, SplitName
from pipeline.data.sources.published import inside, read_matlab
from pipeline.errors import DataError


def read_stanford_dogs(folder: Path) -> Source:
    """Lists the photographs below ``folder/Images``; the lists lie in ``folder`` or its ``lists``.

    Raises:
        DataError: The folder is not as published.
    """
    parts: tuple[SplitName, ...] = ("train", "test")
    lists = folder / "lists" if (folder / "lists").is_dir() else folder
    rows: list[tuple[SplitName, str, str]] = []
    for split in parts:
        files, labels = read_matlab(lists / f"{split}_list.mat", "file_list", "labels")
        rows += [(split, str(f), str(n)) for f, n in zip(files, labels, strict=True)]
    # n02085620-Chihuahua/n02085620_5927.jpg
    breeds = {
        number: name.partition("/")[0].partition("-")[2].replace("_", " ")
        for _, name, number in rows
    }
    if set(breeds) != {str(number) for number in range(1, len(breeds) + 1)}:
        raise DataError(lists, "the breeds' numbers do not run from 1 without a gap")
    photos = []
    for split, name, number in rows:
        path = folder / "Images" / inside(name, lists / f"{split}_list.mat")
        photos.append(Photo(path, f"Images/{name}", int(number) - 1, split))
    return Source(
        name="stanford_dogs",
        classes=tuple(breeds[str(number)] for number in range(1, len(breeds) + 1)),
        photos=tuple(photos),
        licence="not stated; ImageNet's own terms are non-commercial research and education",
        origin="http://vision.stanford.edu/aditya86/ImageNetDogs/",
    )
