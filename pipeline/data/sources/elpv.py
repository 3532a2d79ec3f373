"""The ELPV data set of solar cells, from the PyPI package elpv-dataset."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pipeline.data.sources.base import DataSource, Listing, Sample, read_text
from pipeline.errors import DataError
from pipeline.plugins import SOURCES

_CELL_TYPES = ("mono", "poly")
_GRADES = {0.0: "functional", 1 / 3: "slight", 2 / 3: "moderate", 1.0: "defective"}
"""Names of the grades by defect probability."""
_BINARY = ("functional", "defective")


@SOURCES.register("elpv")
class ELPV(DataSource):
    """2,624 electroluminescence images of solar cells; a class is a cell type and a defect grade.

    Buerhop-Lutz et al., "A Benchmark for Visual Identification of Defective Solar Cells in
    Electroluminescence Imagery", EU PVSEC 2018.

    Args:
        threshold: Defect probability above which a cell is defective and below which it is
            functional, which gives 4 classes. None keeps the 4 probabilities of the data set as
            grades, which gives 8 classes. The literature uses 0.5.
    """

    license = "CC BY-NC-SA 4.0 (non-commercial)"
    origin = "https://github.com/zae-bayern/elpv-dataset"
    path_kind = None
    publishes_splits = False

    def __init__(self, *, threshold: Annotated[float, Field(gt=0, lt=1)] | None = None) -> None:
        self.threshold = threshold

    def read(self, path: Path) -> Listing:
        """Reads the table of the installed package."""
        (folder,) = self.files(path)
        table = folder / "labels.csv"
        names = {
            probability: grade if self.threshold is None else _BINARY[probability > self.threshold]
            for probability, grade in _GRADES.items()
        }
        grades = list(dict.fromkeys(names.values()))
        samples = []
        for line in read_text(table, "reinstall elpv-dataset").splitlines():
            try:
                name, probability, cell = line.split()
                known = next(p for p in _GRADES if abs(p - float(probability)) < 0.01)
                label = _CELL_TYPES.index(cell) * len(grades) + grades.index(names[known])
            except (ValueError, StopIteration):
                problem = f"{line!r} is not `file, defect probability, cell type`"
                remedy = "install the version pinned in requirements.lock"
                raise DataError(table, problem, remedy) from None
            samples.append(Sample(folder / name, name, label))
        return Listing([f"{cell}-{grade}" for cell in _CELL_TYPES for grade in grades], samples)

    def files(self, path: Path) -> Iterable[Path]:
        """The folder of images and labels in the installed package."""
        spec = importlib.util.find_spec("elpv_dataset")  # its files are read without importing it
        if spec is None or spec.origin is None:
            raise DataError(
                "source 'elpv'",
                "the package elpv-dataset is not installed",
                "run `pip install elpv-dataset` (CC BY-NC-SA 4.0), or set prepare.source",
            )
        return [Path(spec.origin).parent / "data"]
