from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.measure.names import without_folders


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "could not be run: /home/al/m/model.onnx: is damaged",
            "could not be run: model.onnx: is damaged",
        ),
        ("(/usr/lib/libgomp.so.1: cannot open)", "(libgomp.so.1: cannot open)"),
        ("cannot load '/home/al/x/'; ~/finch/bin/python", "cannot load 'x'; python"),
        ("C:/Users/al/model.onnx is damaged", "model.onnx is damaged"),
        ("3/4 and/or int8/model.onnx", "3/4 and/or int8/model.onnx"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("", ""),
    ],
)
def test_absolute_paths_become_names(text, expected):
    assert without_folders(text) == expected


def test_a_known_folder_may_contain_spaces():
    folders = [Path("/home/al smith"), Path("/home/al smith/secret project")]
    text = "cannot load /home/al smith/secret project/client/model.onnx"
    assert without_folders(text, folders) == "cannot load model.onnx"


_NAMES = st.text("abcxyz_-.09", min_size=1, max_size=8).filter(lambda name: name not in (".", ".."))


@given(
    folders=st.lists(_NAMES, min_size=1, max_size=5), name=_NAMES, sign=st.sampled_from(" ('\":=")
)
def test_only_the_last_name_of_a_path_is_left(folders, name, sign):
    text = f"error{sign}/{'/'.join(folders)}/{name}, sorry"
    assert without_folders(text) == f"error{sign}{name}, sorry"
