from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from pipeline.data.sources import read_source
from pipeline.params import Prepare


@pytest.fixture
def put_photos():
    """Writes small images, and creates their folders."""

    def put(folder, *names):
        for name in names:
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4)).save(path, format="PPM" if path.suffix == ".ppm" else "JPEG")

    return put


@pytest.fixture
def put_text():
    """Writes a text file, and creates its folder."""

    def put(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    return put


@pytest.fixture
def put_matlab():
    """Writes a MATLAB file; lists of names become cell arrays, dictionaries of lists structs."""

    def cells(values):
        made = np.empty(len(values), dtype=object)
        made[:] = values
        return made

    def variable(value):
        if isinstance(value, dict):
            rows = np.empty((1, len(next(iter(value.values())))), dtype=[(k, "O") for k in value])
            for key, column in value.items():
                rows[key][0] = cells(column)
            return rows
        return cells(value) if isinstance(value[0], str) else np.array(value)

    def put(path, **variables):
        path.parent.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(path, {name: variable(value) for name, value in variables.items()})

    return put


@pytest.fixture
def listed():
    """Reads a source and lists (name, class, split) of its images, all of which exist."""

    def read(source, folder, **options):
        found = read_source(Prepare(source=source, path=str(folder), **options))
        assert all(sample.read() for sample in found.samples)
        return [
            (sample.name, found.classes[sample.label], sample.split) for sample in found.samples
        ]

    return read
