import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.sources import Sample
from pipeline.data.sources.published_files import (
    check_regular,
    parse_index,
    read_columns,
    read_lines,
    read_matlab,
)
from pipeline.errors import DataError


@given(st.integers(-5, 30), st.integers(0, 3), st.integers(1, 20))
def test_a_published_number_becomes_an_index_or_is_refused(number, first, count):
    if first <= number < first + count:
        assert parse_index(str(number), first, count, "here") == number - first
    else:
        with pytest.raises(DataError, match=f"here: '{number}' is not a number from {first} to"):
            parse_index(str(number), first, count, "here")


@pytest.mark.parametrize("text", ["", "x", "1.0", " 1", "1e0"])
def test_text_that_is_not_an_integer_is_refused(text):
    with pytest.raises(DataError, match="is not a number from 0 to 8"):
        parse_index(text, 0, 9, "here")


@given(st.lists(st.sampled_from(["a", "b c", ".", "..", ""]), min_size=1, max_size=6))
def test_paths_below_a_folder_are_inside_it(tmp_path_factory, parts):
    folder = tmp_path_factory.getbasetemp().resolve()
    try:
        name = Sample.from_path(folder, folder / "/".join(parts), 0, None).name
    except DataError:
        assert ".." in parts or parts[0] == ""
        return
    assert (folder / name).resolve().is_relative_to(folder)


def test_the_last_column_takes_the_rest_and_blank_lines_are_no_rows(tmp_path):
    table = tmp_path / "t.txt"
    table.write_bytes("1  a b\r\n\r\n 2\té\n".encode())
    assert read_lines(table) == [(1, "1  a b"), (3, "2\té")]
    assert read_columns(table, 2) == [["1", "a b"], ["2", "é"]]
    table.write_bytes(b"1 \xe9\n")
    with pytest.raises(DataError, match=r"t\.txt: is not UTF-8 text"):
        read_columns(table, 2)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "read", [check_regular, read_lines, lambda path: read_matlab(path, "labels")]
)
def test_a_pipe_is_refused_without_waiting(tmp_path, read):
    os.mkfifo(tmp_path / "labels.mat")
    with pytest.raises(DataError, match=r"labels\.mat: is not a regular file"):
        read(tmp_path / "labels.mat")


def test_a_pipe_anywhere_below_a_folder_is_found(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "c.txt").write_text("c")
    (tmp_path / "a" / "gone").symlink_to(tmp_path / "nowhere")
    check_regular(tmp_path)
    os.mkfifo(tmp_path / "a" / "b" / "pipe")
    with pytest.raises(DataError, match=r"a/b/pipe: is not a regular file"):
        check_regular(tmp_path)
