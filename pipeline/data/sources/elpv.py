"""The ELPV data set: 2,624 electroluminescence photographs of solar cells, from PyPI.

Buerhop-Lutz et al., "A Benchmark for Visual Identification of Defective Solar Cells in
Electroluminescence Imagery", EU PVSEC 2018. Licence CC BY-NC-SA 4.0 (non-commercial).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from pipeline.data.sources.photos import Photo, Source
from pipeline.errors import DataError

_CELL_TYPES = ("mono", "poly")
# The data set gives each cell a defect probability out of these four.
_GRADES = {0.0: "functional", 1 / 3: "slight", 2 / 3: "moderate", 1.0: "defective"}


def read_elpv() -> Source:
    """Lists the cells; eight classes, by cell type and then by grade of defect.

    Raises:
        DataError: The package is not installed, or its table has an unknown type or grade.
    """
    # find_spec, because importing the package is not needed to read its files.
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        raise DataError(
            "source 'elpv'",
            "the package elpv-dataset is not installed",
            "run `pip install elpv-dataset` (CC BY-NC-SA 4.0), or set prepare.source",
        )
    folder = Path(spec.origin).parent / "data"
    classes = tuple(f"{kind}-{grade}" for kind in _CELL_TYPES for grade in _GRADES.values())
    photos = []
    for line in _table(folder / "labels.csv"):
        try:
            name, probability, kind = line.split()
            grade = next(p for p in _GRADES if abs(p - float(probability)) < 0.01)
            label = _CELL_TYPES.index(kind) * len(_GRADES) + list(_GRADES).index(grade)
        except (ValueError, StopIteration):
            raise DataError(
                folder / "labels.csv",
                f"{line!r} is not `file, defect probability, cell type` as published",
                "install the version that requirements.lock pins",
            ) from None
        photos.append(Photo(folder / name, name, label))
    return Source(
        name="elpv",
        classes=classes,
        photos=tuple(photos),
        licence="CC BY-NC-SA 4.0 (non-commercial)",
        origin="https://github.com/zae-bayern/elpv-dataset",
    )


def _table(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(
            path, f"cannot be read ({error.strerror})", "install elpv-dataset again"
        ) from None
