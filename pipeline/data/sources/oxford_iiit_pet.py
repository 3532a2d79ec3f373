"""Oxford-IIIT Pet: 7,349 photographs of 37 breeds of cats and dogs.

Parkhi et al., "Cats and Dogs", CVPR 2012. Publishes trainval and test.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.data.sources.photos import Photo, Source, SplitName
from pipeline.data.sources.published import inside, read_columns
from pipeline.data.sources.torchvision_set import open_set
from pipeline.errors import DataError


def read_oxford_iiit_pet(root: Path, download: bool) -> Source:
    """Lists the photographs of ``root/oxford-iiit-pet`` by breed.

    Raises:
        DataError: The set is not there or not as published, or cannot be fetched.
    """
    open_set("OxfordIIITPet", root, download)
    base = root / "oxford-iiit-pet"
    tables: dict[SplitName, str] = {"train": "trainval.txt", "test": "test.txt"}
    rows = [
        (split, name, number)
        for split, table in tables.items()
        # The other columns are the species and the breed within it.
        for name, number, *_ in read_columns(base / "annotations" / table, 4)
    ]
    breeds = {number: name.rpartition("_")[0].replace("_", " ") for _, name, number in rows}
    if set(breeds) != {str(number) for number in range(1, len(breeds) + 1)}:
        raise DataError(base / "annotations", "the breeds' numbers do not run from 1 without a gap")
    photos = []
    for split, name, number in rows:
        path = base / "images" / f"{inside(name, base / 'annotations')}.jpg"
        photos.append(Photo(path, path.relative_to(root).as_posix(), int(number) - 1, split))
    return Source(
        name="oxford_iiit_pet",
        classes=tuple(breeds[str(number)] for number in range(1, len(breeds) + 1)),
        photos=tuple(photos),
        licence="CC BY-SA 4.0",
        origin="https://www.robots.ox.ac.uk/~vgg/data/pets/",
    )
