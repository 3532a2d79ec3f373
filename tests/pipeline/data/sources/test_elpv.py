import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.sources import read_source
from pipeline.data.sources.elpv import ELPV
from pipeline.errors import DataError
from pipeline.params import Prepare
from pipeline.params.prepare import prepare_model

GRADES = {"functional": 0, "slight": 1 / 3, "moderate": 2 / 3, "defective": 1}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Replaces the package with one of the same layout."""
    (tmp_path / "data").mkdir()
    spec = ModuleSpec("elpv_dataset", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    return tmp_path / "data" / "labels.csv"


def test_the_cells_are_those_that_the_package_itself_loads(tmp_path):
    loader = pytest.importorskip(
        "elpv_dataset.utils", reason="the images come with the extra `demo`"
    )
    data = Path(loader.__file__).parent / "data"
    # Its loader decodes all it lists, so it is given every 41st row.
    rows = (data / "labels.csv").read_text().splitlines(keepends=True)
    (tmp_path / "labels.csv").write_text("".join(rows[::41]))
    (tmp_path / "images").symlink_to(data / "images")
    images, probabilities, types = loader.load_dataset(str(tmp_path / "labels.csv"))
    source = read_source(Prepare())
    samples = source.samples[::41]
    assert len(samples) == len(images) == 64
    for sample, image, probability, kind in zip(samples, images, probabilities, types, strict=True):
        cell, grade = source.classes[sample.label].split("-")
        assert cell == kind
        assert GRADES[grade] == pytest.approx(probability)
        with Image.open(sample.path) as opened:
            assert np.array_equal(np.asarray(opened), image)


def test_the_classes_have_the_published_numbers_of_cells():
    pytest.importorskip("elpv_dataset", reason="the images come with the extra `demo`")
    source = read_source(Prepare())
    counts = np.bincount([sample.label for sample in source.samples])
    # Mono and poly, each from functional to defective; 2,624 in all.
    assert counts.tolist() == [588, 117, 56, 313, 920, 178, 50, 402]
    assert all(sample.path.is_file() for sample in source.samples)


def test_classes_are_ordered_by_cell_type_and_then_by_grade(package):
    package.write_text("images/cell0001.png  1.0  mono\nimages/cell0002.png  0.3333333333  poly\n")
    listing = ELPV().read(Path())
    classes, samples = listing.classes, listing.samples
    assert classes == [f"{kind}-{grade}" for kind in ("mono", "poly") for grade in GRADES]
    assert [classes[sample.label] for sample in samples] == [
        "mono-defective",
        "poly-slight",
    ]
    assert samples[1].path == package.parent / "images/cell0002.png"


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (0.5, [588 + 117, 56 + 313, 920 + 178, 50 + 402]),
        (0.2, [588, 117 + 56 + 313, 920, 178 + 50 + 402]),
    ],
)
def test_a_threshold_parts_functional_from_defective_cells(threshold, expected):
    pytest.importorskip("elpv_dataset", reason="the images come with the extra `demo`")
    source = read_source(prepare_model()(elpv={"threshold": threshold}))
    assert source.classes == (
        "mono-functional",
        "mono-defective",
        "poly-functional",
        "poly-defective",
    )
    assert np.bincount([sample.label for sample in source.samples]).tolist() == expected


@pytest.mark.parametrize(
    "row",
    [
        "images/a.png 1.0 thin-film",
        "images/a.png 0.5 mono",
        "images/a.png nan mono",
        "images/a.png high mono",
        "images/a.png 1.0",
        "",
    ],
)
def test_an_unknown_type_or_grade_is_refused(package, row):
    package.write_text(f"images/b.png 1.0 mono\n{row}\n")
    with pytest.raises(DataError, match="is not `file, defect probability, cell type`"):
        read_source(Prepare())


def test_a_package_without_its_table_is_refused(package):
    with pytest.raises(DataError, match=r"labels\.csv: cannot be read .*install"):
        read_source(Prepare())


def test_a_missing_package_is_refused_with_what_to_install_and_its_license(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install elpv-dataset.*BY-NC-SA"):
        read_source(Prepare())
