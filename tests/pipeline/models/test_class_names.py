import argparse
import json

import numpy as np
import pytest

from pipeline.errors import ParameterError
from pipeline.files import hash_file
from pipeline.models.class_names import find_class_names, read_class_names

NAMES = ("1", "2", "10", "11")


@pytest.mark.parametrize(
    "text",
    [
        "1\n2\n10\n11\n",
        "\ufeff1\r\n2\r\n10\r\n11",
        "0 1\n1 2\n2 10\n3 11\n",
        "0: 1\n1: 2\n2: 10\n3: 11\n",
        '["1", "2", "10", "11"]',
        "[1, 2, 10, 11]",
        '{"1": 0, "2": 1, "11": 3, "10": 2}',
        '{"3": "11", "0": "1", "1": "2", "2": "10"}',
        '{"id2label": {"0": "1", "1": "2", "2": "10", "3": "11"}}',
    ],
)
def test_a_file_of_names_is_read_in_the_order_of_the_rows(tmp_path, text):
    path = tmp_path / "names.txt"
    path.write_text(text, encoding="utf-8")
    assert read_class_names(path).names == NAMES


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a\nb\na\n", "'a' occurs twice"),
        (b"a\n\nb\n", "row 1"),
        (b"", "no names"),
        ("é".encode("latin-1"), "UTF-8"),
        (b'["a", ', "class names"),
        (b'{"a": 0, "b": 2}', "row numbers"),
        (b'{"a": "b", "c": "d"}', "row numbers"),
        (b"[1.5]", "not a text"),
    ],
)
def test_what_names_no_rows_is_refused(tmp_path, content, problem):
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(ParameterError, match=problem) as caught:
        read_class_names(path)
    assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(ParameterError, match="class_names"):
        read_class_names(tmp_path / "absent.txt")


@pytest.mark.parametrize(
    "entries",
    [
        {"classes": list(NAMES)},
        {"class_names": NAMES},
        {"class_to_idx": {name: row for row, name in enumerate(NAMES)}},
        {"idx_to_class": dict(enumerate(NAMES))},
        {"names": {str(row): name for row, name in enumerate(NAMES)}},
        {"classes": 4, "hyper_parameters": {"classes": 4, "class_names": list(NAMES)}},
        {"meta": {"dataset_meta": {"classes": NAMES}}},
        {"args": argparse.Namespace(classes=list(NAMES))},
        {"classes": np.array(NAMES)},
        {"classes": np.array([1, 2, 10, 11])},
        {"class_to_idx": {name: np.int64(row) for row, name in enumerate(NAMES)}},
        {"idx_to_class": {np.int64(row): name for row, name in enumerate(NAMES)}},
    ],
)
def test_names_in_a_checkpoint_are_found(tmp_path, entries):
    found = find_class_names(tmp_path / "w.pth", {"epoch": 3, **entries})
    assert found.names == NAMES
    assert "w.pth" in found.origin


@pytest.mark.parametrize("entries", [{}, {"classes": 4}, {"names": ["a", "a"]}, {"labels": "a"}])
def test_other_entries_are_no_names(tmp_path, entries):
    assert find_class_names(tmp_path / "w.pth", entries) is None


def test_entries_that_contain_themselves_are_no_names(tmp_path):
    entries = {}
    entries["hparams"] = entries["meta"] = entries
    assert find_class_names(tmp_path / "w.pth", entries) is None


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("labels.txt", "1\n2\n10\n11\n"),
        ("classes.txt", "1\n2\n10\n11\n"),
        ("class_names.txt", "1\n2\n10\n11\n"),
        ("config.json", '{"id2label": {"0": "1", "1": "2", "2": "10", "3": "11"}}'),
        ("config.json", '{"architecture": "x", "label_names": ["1", "2", "10", "11"]}'),
        ("class_to_idx.json", '{"1": 0, "2": 1, "10": 2, "11": 3}'),
    ],
)
def test_names_beside_the_weights_are_found(tmp_path, file, text):
    (tmp_path / file).write_text(text, encoding="utf-8")
    found = find_class_names(tmp_path / "w.pth", {})
    assert (found.names, found.origin) == (NAMES, file)
    inside = find_class_names(tmp_path / "w.pth", {"classes": ["a", "b", "c", "d"]})
    assert inside.names == ("a", "b", "c", "d")


def test_files_that_name_no_class_are_passed_over(tmp_path):
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "classes.txt").write_text("a\na\n")
    (tmp_path / "config.json").write_text('{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}')
    assert find_class_names(tmp_path / "w.pth", {}) is None


def test_model_json_names_the_classes_of_its_own_weights_only(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    about = {"classes": list(NAMES), "weights_sha256": hash_file(weights)}
    (tmp_path / "model.json").write_text(json.dumps(about))
    assert find_class_names(weights, {}).names == NAMES
    (tmp_path / "model.json").write_text(json.dumps(about | {"weights_sha256": "0" * 64}))
    assert find_class_names(weights, {}) is None
