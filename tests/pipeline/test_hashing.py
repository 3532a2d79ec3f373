import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.files import hash_file, hash_value

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def turned(value):
    """The same value with the keys of every mapping in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("content", [b"", b"abc", bytes(range(256)) * 5000])
def test_the_hash_of_a_file_is_that_of_sha256sum(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    said = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True)
    assert hash_file(path) == said.stdout.split()[0]


@given(json_values)
def test_the_order_of_keys_does_not_matter(value):
    assert hash_value(turned(value)) == hash_value(value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2], [2, 1]),
        ({"a": 1}, {"a": "1"}),
        ({"a": None}, {}),
        ([[1], 2], [1, [2]]),
        (["a,b"], ["a", "b"]),
        (True, 1),
        ("é", "e\u0301"),
    ],
)
def test_different_values_have_different_hashes(one, other):
    assert hash_value(one) != hash_value(other)


def test_the_hash_of_a_value_is_the_same_on_every_machine():
    # printf '{"a":[1,2.5,null],"b":"\\u00e4"}' | sha256sum
    expected = "f4b054685b56a681cf5ab0af8281efd257ad0f412a7762712cf88d4c87b4b703"
    assert hash_value({"b": "ä", "a": [1, 2.5, None]}) == expected
