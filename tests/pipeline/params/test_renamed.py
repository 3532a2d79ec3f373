import pytest

from pipeline.params import params_model
from pipeline.params.messages import subsection
from pipeline.params.renamed import NEW_NAMES
from tests.pipeline.params.own_file import FILE, PROJECT, refusal


@pytest.mark.parametrize(("old", "new"), NEW_NAMES.items())
def test_an_old_name_is_refused_with_its_new_name(old, new):
    message = refusal(FILE, f"{old}=1")
    assert f"{old} is now {new}" in message


@pytest.mark.parametrize("new", NEW_NAMES.values())
def test_the_new_name_exists(new):
    name = new.replace(",", " ").split()[0]
    if name.endswith(".yaml"):
        assert (PROJECT / name).is_file()
    else:
        *section, key = name.split(".")
        assert key in subsection(params_model(), tuple(section)).model_fields


def test_the_line_for_kd_share_says_how_to_convert_the_value():
    assert "kd_weight = weight * kd_share" in refusal(FILE, "distill.figkd.kd_share=20")


@pytest.mark.parametrize(
    ("override", "new"),
    [
        ("distill.figkd.normalization=centred", "centered"),
        ("distill.figkd.normalization=standardised", "standardized"),
    ],
)
def test_an_old_value_is_refused_with_its_new_name(override, new):
    assert f"now {new}" in refusal(FILE, override)
