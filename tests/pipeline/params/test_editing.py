import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.params.editing import changed, merged

TEXT = """\
# head
a:
  one: 1 # the first
  map: { x: 1,   y: [1, 2] } # flow
  empty: # nothing yet
  text: "quoted" # kept

  list: # of two
    - 1
    - 2 # the last
# between
b: { deep: { z: 0 } }
ü: ä # not ASCII
"""


def test_only_the_named_values_change():
    new = changed(TEXT, {"a": {"one": 5, "map": {"x": 3}, "empty": None}, "b": {"deep": {"z": 9}}})
    assert new == TEXT.replace("one: 1", "one: 5").replace("x: 1", "x: 3").replace("z: 0", "z: 9")


def test_empty_values_lists_and_strings_are_replaced_and_keep_their_comments():
    new = changed(TEXT, {"a": {"empty": "full", "list": [3], "text": "true"}, "ü": "ö"})
    assert yaml.safe_load(new) == merged(
        yaml.safe_load(TEXT), {"a": {"empty": "full", "list": [3], "text": "true"}, "ü": "ö"}
    )
    for comment in ("# nothing yet", "# kept", "# the last", "# between", "# not ASCII"):
        assert comment in new


def test_missing_keys_are_added_to_their_section():
    new = changed(TEXT, {"a": {"two": 2}, "b": {"deep": {"w": 1}}, "c": {"d": [0.5, None]}})
    values = {"a": {"two": 2}, "b": {"deep": {"w": 1}}, "c": {"d": [0.5, None]}}
    assert yaml.safe_load(new) == merged(yaml.safe_load(TEXT), values)
    assert [line for line in TEXT.splitlines() if line not in new.splitlines()] == [
        "b: { deep: { z: 0 } }"
    ]


def test_merging_is_recursive_and_does_not_change_its_arguments():
    old, new = {"a": {"x": 1, "y": 2}, "b": [1, 2]}, {"a": {"y": 3}, "b": [4]}
    assert merged(old, new) == {"a": {"x": 1, "y": 3}, "b": [4]}
    assert old == {"a": {"x": 1, "y": 2}, "b": [1, 2]}


keys = st.text("abcdxyz", min_size=1, max_size=3)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-99, 99),
    st.floats(-9, 9),
    st.text("a1: #-é'\"", max_size=5),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
)
sections = st.dictionaries(keys, values, min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(sections, sections, st.sampled_from([None, False]))
def test_the_changed_text_has_the_merged_values(old, new, style):
    text = yaml.safe_dump(old, default_flow_style=style, sort_keys=False, allow_unicode=True)
    result = yaml.safe_load(changed(text, new))
    assert result == merged(old, new)
