"""Published data sets that torchvision downloads and verifies.

Samples are listed from the published files, in their published order and splits.
"""

from __future__ import annotations

import csv
import socket
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pipeline.data.sources import published_files as published
from pipeline.data.sources.base import SPLITS, DataSource, Listing, Sample, encode_ppm
from pipeline.errors import DataError
from pipeline.plugins import SOURCES

TIMEOUT_S = 60.0
"""Maximum time without an answer from a server, in seconds."""


class TorchvisionSource(DataSource):
    """Base class. A subclass has the name of its class in ``torchvision.datasets``.

    Attributes:
        variants: Keyword arguments of torchvision's class, one dictionary per instance.
    """

    can_download = True
    variants: ClassVar[tuple[dict[str, Any], ...]] = ({},)

    def read(self, path: Path, download: bool = False) -> Listing:
        """Lists the samples, after downloading them if they are missing and ``download`` is set.

        Raises:
            DataError: The data set is missing, damaged, not as published, or cannot be downloaded.
        """
        return self._list(path, [self._open(path, download, options) for options in self.variants])

    @abstractmethod
    def _list(self, root: Path, opened: list[Any]) -> Listing:
        """Lists the samples below ``root``; ``opened`` are torchvision data sets."""

    def _open(self, root: Path, download: bool, options: dict[str, Any]) -> Any:
        import torchvision.datasets  # imports torch, which the other sources do not need

        name = type(self).__name__
        published.check_regular(root)
        for fetch in (False, True) if download else (False,):
            try:
                if fetch:
                    root.mkdir(parents=True, exist_ok=True)
                with _answers_in_time():
                    return getattr(torchvision.datasets, name)(str(root), download=fetch, **options)
            except Exception as error:  # torchvision raises many types
                reason = " ".join(str(error).split()) or type(error).__name__
        problem, remedy = f"{name} cannot be read", "set prepare.download to true"
        if download:
            problem, remedy = f"{name} cannot be downloaded", "remove partial files and retry"
        remedy += f", or put the published files of {name} there"
        raise DataError(root, f"{problem} ({reason})", remedy)


@contextmanager
def _answers_in_time() -> Iterator[None]:
    """Limits how long a connection waits; torchvision sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@SOURCES.register("cifar100")
class CIFAR100(TorchvisionSource):
    """60,000 images of 32 x 32 pixels with 100 fine labels (Krizhevsky 2009); train and test.

    The files are pickles. torchvision verifies their checksums before it loads them.
    """

    origin = "https://www.cs.toronto.edu/~kriz/cifar.html"
    variants = ({"train": True}, {"train": False})

    def _list(self, root: Path, opened: list[Any]) -> Listing:
        samples = []
        for split, data in zip(published.TRAIN_AND_TEST, opened, strict=True):
            path = root / "cifar-100-python" / split
            for row, (pixels, label) in enumerate(zip(data.data, data.targets, strict=True)):
                name = f"{split}/{row:05}.ppm"
                content = partial(encode_ppm, pixels)
                samples.append(Sample(path, name, label, split, content=content))
        return Listing(opened[0].classes, samples)


@SOURCES.register("fgvc_aircraft")
class FGVCAircraft(TorchvisionSource):
    """10,000 images of 100 aircraft variants (Maji et al., arXiv 1306.5151); train, val, test."""

    license = "non-commercial research only"
    origin = "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/"

    def _list(self, root: Path, opened: list[Any]) -> Listing:
        data = root / "fgvc-aircraft-2013b" / "data"
        classes = tuple(line for _, line in published.read_lines(data / "variants.txt"))
        samples = []
        for split in SPLITS:
            table = data / f"images_variant_{split}.txt"
            for number, variant in published.read_columns(table, 2):
                if variant not in classes:
                    raise DataError(table, f"{variant!r} is not in variants.txt")
                path = data / "images" / f"{number}.jpg"
                samples.append(Sample.from_path(root, path, classes.index(variant), split))
        return Listing(classes, samples)


@SOURCES.register("stanford_cars")
class StanfordCars(TorchvisionSource):
    """16,185 images of 196 car models (Krause et al., 3dRR 2013); train and test.

    Its website no longer exists, so torchvision can only read local files.
    """

    origin = "https://ai.stanford.edu/~jkrause/cars/car_dataset.html"
    variants = ({"split": "train"},)

    def _list(self, root: Path, opened: list[Any]) -> Listing:
        base = root / "stanford_cars"
        (names,) = published.read_matlab(base / "devkit" / "cars_meta.mat", "class_names")
        classes = tuple(str(name) for name in names)
        tables = (base / "devkit" / "cars_train_annos.mat", base / "cars_test_annos_withlabels.mat")
        samples = []
        for split, table in zip(published.TRAIN_AND_TEST, tables, strict=True):
            for row in published.read_matlab(table, "annotations")[0]:
                path = base / f"cars_{split}" / str(row["fname"])
                label = published.parse_index(str(row["class"]), 1, len(classes), table)
                samples.append(Sample.from_path(root, path, label, split))
        return Listing(classes, samples)


@SOURCES.register("flowers102")
class Flowers102(TorchvisionSource):
    """8,189 images of 102 flower species (Nilsback and Zisserman 2008); train, val, test."""

    origin = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"

    def _list(self, root: Path, opened: list[Any]) -> Listing:
        base = root / "flowers-102"
        classes = tuple(opened[0].classes)
        label_table = base / "imagelabels.mat"
        (labels,) = published.read_matlab(label_table, "labels")
        tables = published.read_matlab(base / "setid.mat", "trnid", "valid", "tstid")
        samples = []
        for split, numbers in zip(SPLITS, tables, strict=True):
            for number in numbers:
                row = published.parse_index(str(number), 1, len(labels), base / "setid.mat")
                label = published.parse_index(str(labels[row]), 1, len(classes), label_table)
                path = base / "jpg" / f"image_{number:05}.jpg"
                samples.append(Sample.from_path(root, path, label, split))
        return Listing(classes, samples)


@SOURCES.register("oxford_iiit_pet")
class OxfordIIITPet(TorchvisionSource):
    """7,349 images of 37 cat and dog breeds (Parkhi et al., CVPR 2012); trainval and test."""

    license = "CC BY-SA 4.0"
    origin = "https://www.robots.ox.ac.uk/~vgg/data/pets/"

    def _list(self, root: Path, opened: list[Any]) -> Listing:
        base = root / "oxford-iiit-pet"
        samples, breeds = [], []
        for split, name in zip(published.TRAIN_AND_TEST, ("trainval.txt", "test.txt"), strict=True):
            table = base / "annotations" / name  # columns: image, breed, species, breed in species
            for image, number, *_ in published.read_columns(table, 4):
                breeds.append((number, image.rpartition("_")[0].replace("_", " ")))
                label = published.parse_index(number, 1, 10**6, table)
                path = base / "images" / f"{image}.jpg"
                samples.append(Sample.from_path(root, path, label, split))
        return Listing(published.order_classes(breeds, 1, base / "annotations"), samples)


@SOURCES.register("food101")
class Food101(TorchvisionSource):
    """101,000 images of 101 dishes (Bossard et al., ECCV 2014); train and test.

    Some labels of the training split are deliberately wrong.
    """

    license = "scientific fair use only; the photographs belong to those who took them"
    origin = "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/"

    def _list(self, root: Path, opened: list[Any]) -> Listing:
        base = root / "food-101"
        classes = tuple(line for _, line in published.read_lines(base / "meta" / "classes.txt"))
        samples = []
        for split in published.TRAIN_AND_TEST:
            table = base / "meta" / f"{split}.txt"
            for number, line in published.read_lines(table):
                dish, where = line.partition("/")[0], f"{table}, line {number}"
                if dish not in classes:
                    raise DataError(where, f"{dish!r} is not in classes.txt")
                path, label = base / "images" / f"{line}.jpg", classes.index(dish)
                samples.append(Sample.from_path(root, path, label, split, where=where))
        return Listing(classes, samples)


# In the order of the class numbers. The published files have no class names.
_TRAFFIC_SIGNS = tuple(
    """speed limit 20|speed limit 30|speed limit 50|speed limit 60|speed limit 70|speed limit 80|
    end of speed limit 80|speed limit 100|speed limit 120|no overtaking|no overtaking by lorries|
    right of way at the next crossing|priority road|give way|stop|no vehicles|no lorries|no entry|
    danger|bend to the left|bend to the right|double bend|uneven road|slippery road|
    road narrows on the right|road works|traffic lights|pedestrians|children|bicycles|snow|
    wild animals|end of all limits|turn right ahead|turn left ahead|ahead only|ahead or right|
    ahead or left|keep right|keep left|roundabout|end of no overtaking|
    end of no overtaking by lorries""".replace("\n    ", "").split("|")
)


@SOURCES.register("gtsrb")
class GTSRB(TorchvisionSource):
    """39,270 images of 43 German traffic signs (Stallkamp et al. 2012); train and test.

    The 30 training images of a track show one physical sign, and are one group.
    """

    origin = "https://benchmark.ini.rub.de/gtsrb_dataset.html"
    variants = ({"split": "train"}, {"split": "test"})

    def _list(self, root: Path, opened: list[Any]) -> Listing:
        base, classes = root / "gtsrb", _TRAFFIC_SIGNS
        samples = []
        for path in sorted((base / "GTSRB" / "Training").glob("*/*.ppm")):
            label = published.parse_index(path.parent.name, 0, len(classes), path)
            track = f"{path.parent.name}/{path.stem.partition('_')[0]}"
            samples.append(Sample.from_path(root, path, label, "train", track))
        table = base / "GT-final_test.csv"
        for row in csv.DictReader([line for _, line in published.read_lines(table)], delimiter=";"):
            path = base / "GTSRB" / "Final_Test" / "Images" / (row.get("Filename") or "")
            label = published.parse_index(row.get("ClassId") or "", 0, len(classes), table)
            samples.append(Sample.from_path(root, path, label, "test"))
        return Listing(classes, samples)


@SOURCES.register("eurosat")
class EuroSAT(TorchvisionSource):
    """27,000 satellite images of 64 x 64 pixels, 10 types of land cover (Helber et al. 2019)."""

    license = "MIT"
    origin = "https://github.com/phelber/EuroSAT"
    publishes_splits = False

    def _list(self, root: Path, opened: list[Any]) -> Listing:
        def order(sample: Sample) -> tuple[int, int, str]:
            number = sample.path.stem.rpartition("_")[2]  # River_2.jpg comes before River_10.jpg
            return sample.label, int(number) if number.isdecimal() else 0, sample.path.name

        samples = [Sample.from_path(root, Path(f), label, None) for f, label in opened[0].samples]
        return Listing(opened[0].classes, sorted(samples, key=order))
