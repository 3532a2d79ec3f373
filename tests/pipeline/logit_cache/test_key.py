import pytest

from pipeline.errors import TrainingError
from pipeline.logit_cache import cache_key, check_classes
from pipeline.params import Views
from tests.pipeline.logit_cache.small_cache import CLASSES, RECIPE


@pytest.mark.parametrize("field", list(Views.model_fields))
def test_any_change_of_the_recipe_is_a_change_of_the_key(data, field):
    value = getattr(RECIPE, field)
    if isinstance(value, bool):
        change = not value
    else:
        change = {"seed": 1, "auto": "trivial"}.get(field) or value * 0.9 + 0.05
    other = RECIPE.model_copy(update={field: change})
    assert cache_key("a", data, other) != cache_key("a", data, RECIPE)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("ant", "bee"), r"the teacher: .*2 classes.*3; fine-tune"),
        (("ant", "wasp", "bee"), r"the teacher: .*class 1 .*'wasp'.*'bee'"),
    ],
)
def test_a_teacher_of_other_classes_is_refused(classes, expected):
    with pytest.raises(TrainingError, match=expected):
        check_classes(classes, CLASSES)
    check_classes(CLASSES, list(CLASSES))
