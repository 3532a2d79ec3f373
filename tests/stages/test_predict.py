"""`finch predict` with a bundle, its archive, and the folder of a project."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.errors import FinchError
from pipeline.shipping.bundle import build_bundle, unpack_bundle
from pipeline.shipping.predict import find_bundle
from stages.app import main
from tests.pipeline.shipping.brightness import LABELS, SIZE, bundle_spec, write_onnx
from tests.small_project import PROJECT

DARK, BRIGHT = LABELS


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A project's folder with a bundle, and the photographs of a dark and a bright image."""
    write_onnx(tmp_path / "model.onnx")
    archive = tmp_path / "run/dist/birds.tar.gz"
    archive.parent.mkdir(parents=True)
    build_bundle(bundle_spec(tmp_path / "model.onnx"), PROJECT / "deploy/python", archive)
    for name, value in (("dark", 10), ("bright", 240)):
        path = tmp_path / f"photos/{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((SIZE, SIZE, 3), value, np.uint8)).save(path)
    return tmp_path / "run"


def test_run_archive_and_unpacked_bundle_give_the_same_classes(run: Path, tmp_path: Path) -> None:
    archive = run / "dist/birds.tar.gz"
    unpacked = unpack_bundle(archive, tmp_path / "device")
    outputs = set()
    for place in (run, run / "dist", archive, unpacked):
        arguments = ["predict", str(place), str(tmp_path / "photos"), "--json"]
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output
        outputs.add(done.output)
    (only,) = outputs
    found = {Path(each["image"]).stem: each["top"][0]["label"] for each in json.loads(only)}
    assert found == {"dark": DARK, "bright": BRIGHT}


def test_an_unreadable_image_is_one_line_and_the_others_are_classified(
    run: Path, tmp_path: Path
) -> None:
    missing, dark = str(tmp_path / "missing.jpg"), str(tmp_path / "photos/dark.png")
    done = CliRunner().invoke(main, ["predict", str(run), missing, dark, "--top", "1"])
    assert done.exit_code == 1
    assert done.stderr == f"finch predict: {missing}: no such file; check the path\n"
    (line,) = done.stdout.splitlines()
    assert line.startswith(dark) and line.endswith(f"%  {DARK}")


def test_an_image_on_standard_input(run: Path) -> None:
    image = io.BytesIO()
    Image.fromarray(np.full((SIZE, SIZE, 3), 240, np.uint8)).save(image, "PNG")
    done = CliRunner().invoke(main, ["predict", str(run), "-"], input=image.getvalue())
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0].endswith(BRIGHT)


def test_a_folder_without_a_bundle_or_with_several_is_refused(run: Path) -> None:
    with pytest.raises(FinchError, match="has no bundle; pass an unpacked bundle"):
        find_bundle(run.parent / "photos")
    (run / "dist/other.tar.gz").touch()
    with pytest.raises(FinchError, match="has 2 bundles"):
        find_bundle(run)


def test_a_damaged_archive_is_one_line(run: Path) -> None:
    (run / "dist/birds.tar.gz").write_bytes(b"\x1f\x8b" + bytes(100))
    done = CliRunner().invoke(main, ["predict", str(run), "x.jpg"])
    assert done.exit_code == 1
    assert "birds.tar.gz: is truncated, damaged or not a bundle" in done.stderr
