"""Stanford Dogs in its published layout."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.sources.base import DataSource, Listing, Sample, SplitName
from pipeline.data.sources.published_files import order_classes, parse_index, read_matlab, safe_name
from pipeline.plugins import SOURCES


@SOURCES.register("stanford_dogs")
class StanfordDogs(DataSource):
    """20,580 ImageNet images of 120 breeds (Khosla et al., FGVC 2011); train and test."""

    license = "not stated; ImageNet's own terms are non-commercial research and education"
    origin = "http://vision.stanford.edu/aditya86/ImageNetDogs/"

    def read(self, path: Path) -> Listing:
        """Reads a folder with ``Images``, and the lists in it or in its folder ``lists``."""
        splits: tuple[SplitName, ...] = ("train", "test")
        lists = path / "lists" if (path / "lists").is_dir() else path
        rows: list[tuple[SplitName, str, int]] = []
        for split in splits:
            table = lists / f"{split}_list.mat"
            files, labels = read_matlab(table, "file_list", "labels")
            for file, label in zip(files, labels, strict=True):
                number = parse_index(str(label), 0, 10**6, table)
                rows.append((split, safe_name(str(file), table), number))
        # n02085620-Chihuahua/n02085620_5927.jpg
        breeds = {
            number: name.partition("/")[0].partition("-")[2].replace("_", " ")
            for _, name, number in rows
        }
        classes = order_classes(breeds, 1, lists)
        return classes, [
            Sample.below(path, path / "Images" / name, number - 1, split)
            for split, name, number in rows
        ]
