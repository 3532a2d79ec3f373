"""CUB-200-2011 in its published layout."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.sources import published_files as published
from pipeline.data.sources.base import DataSource, Listing, Sample
from pipeline.plugins import SOURCES


@SOURCES.register("cub200")
class CUB200(DataSource):
    """11,788 images of 200 birds (Wah et al., CNS-TR-2011-001), with train and test splits."""

    license = "non-commercial research and education only"
    origin = "https://www.vision.caltech.edu/datasets/cub_200_2011/"

    def read(self, path: Path) -> Listing:
        """Reads a folder ``CUB_200_2011``."""
        table = path / "classes.txt"
        # 001.Black_footed_Albatross
        names = {
            published.parse_index(number, 0, 10**6, table): name.partition(".")[2].replace("_", " ")
            for number, name in published.read_columns(table, 2)
        }
        classes = published.order_classes(names, 1, table)
        labels = dict(published.read_columns(path / "image_class_labels.txt", 2))
        is_training = dict(published.read_columns(path / "train_test_split.txt", 2))
        samples = []
        for number, name in published.read_columns(path / "images.txt", 2):
            where = f"{path / 'images.txt'}, image {number}"
            label = published.parse_index(labels.get(number, ""), 1, len(classes), where)
            training = published.parse_index(is_training.get(number, ""), 0, 2, where)
            file = path / "images" / published.safe_name(name, where)
            samples.append(Sample.below(path, file, label, "train" if training else "test"))
        return classes, samples
