"""Fine-grained data sets in their published layout."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from pipeline.data.sources import published_files as published
from pipeline.data.sources.base import SPLITS, DataSource, Listing, Sample
from pipeline.errors import DataError
from pipeline.plugins import SOURCES


@SOURCES.register("grocery_store")
class GroceryStore(DataSource):
    """Images of 81 products (Klasson, Zhang, Kjellström, WACV 2019), with train, val and test.

    ``classes.csv`` has the class names. Rows of ``train.txt``, ``val.txt`` and ``test.txt`` are
    ``path, fine label, coarse label``.
    """

    license = "MIT"
    origin = "https://github.com/marcusklasson/GroceryStoreDataset"

    def read(self, path: Path) -> Listing:
        """Reads a folder ``GroceryStoreDataset/dataset``, with fine labels."""
        classes = _grocery_classes(path / "classes.csv")
        samples = []
        for split in SPLITS:
            table = path / f"{split}.txt"
            for number, line in published.read_lines(table):
                where = f"{table}, line {number}"
                fields = [field.strip() for field in line.split(",")]
                if len(fields) != 3 or not fields[1].isdecimal():
                    raise DataError(where, f"{line!r} is not `path, fine label, coarse label`")
                if int(fields[1]) >= len(classes):
                    raise DataError(where, f"label {fields[1]} is not in classes.csv")
                file, label = path / fields[0], int(fields[1])
                samples.append(Sample.from_path(path, file, label, split, where=where))
        return Listing(classes, samples)


def _grocery_classes(table: Path) -> tuple[str, ...]:
    names: dict[str, str] = {}
    for number, line in published.read_lines(table)[1:]:
        where, row = f"{table}, line {number}", next(csv.reader([line]))
        if len(row) < 2 or not row[1].strip().isdecimal():
            raise DataError(where, f"{row!r} is not `class name, class id, …`")
        class_id = str(int(row[1]))
        if class_id in names:
            raise DataError(where, f"class id {class_id} occurs twice")
        names[class_id] = row[0].strip()
    return published.order_classes(names.items(), 0, table)


@SOURCES.register("tiny_imagenet")
class TinyImageNet(DataSource):
    """110,000 labeled images of 64 x 64 pixels with 200 ImageNet classes (Stanford CS231N).

    The labels of the test images are not published. As in the literature, the validation images
    are the test split.
    """

    license = "not stated; ImageNet's own terms are non-commercial research and education"
    origin = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"

    def read(self, path: Path) -> Listing:
        """Reads a folder ``tiny-imagenet-200``."""
        synsets = [line for _, line in published.read_lines(path / "wnids.txt")]
        labels = {synset: label for label, synset in enumerate(synsets)}
        samples = []
        for synset, label in labels.items():
            images = path / "train" / synset / "images"
            if not images.is_dir():
                raise DataError(images, "is missing", "fetch the data set again")
            for file in sorted(images.glob("*.JPEG")):
                samples.append(Sample.from_path(path, file, label, "train"))
        table = path / "val" / "val_annotations.txt"
        for name, synset, *_box in published.read_columns(table, 6):
            if synset not in labels:
                raise DataError(table, f"{synset!r} is not in wnids.txt")
            file = path / "val" / "images" / name
            samples.append(Sample.from_path(path, file, labels[synset], "test"))
        return Listing(_synset_names(synsets, path / "words.txt"), samples)


def _synset_names(synsets: list[str], table: Path) -> list[str]:
    words = dict(published.read_columns(table, 2, "\t"))
    for synset in synsets:
        if synset not in words:
            raise DataError(table, f"has no entry for {synset!r}", "fetch the data set again")
    names = [words[synset].partition(",")[0].strip() for synset in synsets]
    counts = Counter(name.casefold() for name in names)
    # Two synsets have the name crane (bird and machine). Add the synset to duplicate names.
    return [
        name if counts[name.casefold()] == 1 else f"{name} ({synset})"
        for name, synset in zip(names, synsets, strict=True)
    ]


@SOURCES.register("cub200")
class CUB200(DataSource):
    """11,788 images of 200 bird species (Wah et al., CNS-TR-2011-001); train and test."""

    license = "non-commercial research and education only"
    origin = "https://www.vision.caltech.edu/datasets/cub_200_2011/"

    def read(self, path: Path) -> Listing:
        """Reads a folder ``CUB_200_2011``."""
        table = path / "classes.txt"
        # For example, 001.Black_footed_Albatross
        birds = (
            (number, name.partition(".")[2].replace("_", " "))
            for number, name in published.read_columns(table, 2)
        )
        classes = published.order_classes(birds, 1, table)
        labels = dict(published.read_columns(path / "image_class_labels.txt", 2))
        is_training = dict(published.read_columns(path / "train_test_split.txt", 2))
        samples = []
        for number, name in published.read_columns(path / "images.txt", 2):
            where = f"{path / 'images.txt'}, image {number}"
            label = published.parse_index(labels.get(number, ""), 1, len(classes), where)
            training = published.parse_index(is_training.get(number, ""), 0, 2, where)
            split = published.TRAIN_AND_TEST[0 if training else 1]
            file = path / "images" / name
            samples.append(Sample.from_path(path, file, label, split, where=where))
        return Listing(classes, samples)


@SOURCES.register("stanford_dogs")
class StanfordDogs(DataSource):
    """20,580 ImageNet images of 120 dog breeds (Khosla et al., FGVC 2011); train and test."""

    license = "not stated; ImageNet's own terms are non-commercial research and education"
    origin = "http://vision.stanford.edu/aditya86/ImageNetDogs/"

    def read(self, path: Path) -> Listing:
        """Reads a folder with ``Images``, and ``*_list.mat`` in this folder or in ``lists``."""
        lists = path / "lists" if (path / "lists").is_dir() else path
        samples, breeds = [], []
        for split in published.TRAIN_AND_TEST:
            table = lists / f"{split}_list.mat"
            files, numbers = published.read_matlab(table, "file_list", "labels")
            for file, number in zip(map(str, files), map(str, numbers), strict=True):
                # For example, n02085620-Chihuahua/n02085620_5927.jpg
                breeds.append((number, file.partition("/")[0].partition("-")[2].replace("_", " ")))
                label = published.parse_index(number, 1, 10**6, table)
                samples.append(Sample.from_path(path, path / "Images" / file, label, split))
        return Listing(published.order_classes(breeds, 1, lists), samples)
