import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.sources.split_names import is_filler, roles_of, split_of

WORDS = {
    "train": ["train", "training"],
    "val": ["val", "valid", "validation", "dev", "eval", "evaluation"],
    "test": ["test", "testing", "holdout"],
}
FILLERS = st.lists(st.sampled_from(["set", "data", "images", "split", "2017", "1"]), max_size=2)
SEPARATORS = st.sampled_from(["", "_", "-", " ", "."])
CASES = st.sampled_from([str.lower, str.upper, str.title, str.capitalize])


@given(
    st.sampled_from([(split, word) for split, words in WORDS.items() for word in words]),
    FILLERS,
    FILLERS,
    SEPARATORS,
    CASES,
)
def test_a_name_is_recognized_in_any_case_with_any_separator_and_filler_words(
    named, before, after, separator, case
):
    split, word = named
    assert split_of(case(separator.join([*before, word, *after]))) == split


@pytest.mark.parametrize(
    "name",
    [
        *("tram", "trainer", "contest", "latest", "validity", "devil", "evaluator", "", "data"),
        *("training dress", "test-multiple_fruits", "Test_positive", "train test", "unlabeled"),
    ],
)
def test_other_names_are_not_recognized(name):
    assert split_of(name) is None


@given(st.text(max_size=40))
def test_any_text_has_at_most_one_meaning(name):
    assert split_of(name) in ("train", "val", "test", None)
    assert not (split_of(name) and is_filler(name))


@pytest.mark.timeout(5)
@pytest.mark.parametrize("part", ["dataset", "images", "0", "0_", "set", "train"])
def test_a_long_name_takes_no_long_time(part):
    assert split_of((part * 255)[:254] + "!x") is None


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        (["birds_train", "birds_test"], ["train", "test"]),
        (["train.birds", "val.birds", "pred.birds"], ["train", "val", "unlabeled"]),
        (["steam train", "freight train"], [None, None]),
        (["test_positive", "test_negative"], [None, None]),
        (["train", "tram"], ["train", None]),
        (["train_1", "train_2"], ["train", "train"]),
        ([], []),
    ],
)
def test_words_that_all_names_share_are_left_out(names, roles):
    assert roles_of(names) == roles
