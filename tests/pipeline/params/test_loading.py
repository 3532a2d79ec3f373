import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ParameterError
from pipeline.params import Compare, Scout, load_params, params_model, read_values
from pipeline.params.loading import load_section
from tests.pipeline.params.own_file import FILE, leaves, refusal


def test_overrides_change_only_the_named_values():
    before = dict(leaves(load_params(FILE).model_dump()))
    params = load_params(
        FILE, ["distill.figkd.kd_weight=2.5", "run.device=cpu", "distill.figkd.kd_weight=4"]
    )
    after = dict(leaves(params.model_dump()))
    assert {key: after[key] for key in after if after[key] != before[key]} == {
        "distill.figkd.kd_weight": 4.0,
        "run.device": "cpu",
    }


def test_an_override_may_contain_equals_signs_and_add_a_missing_section(tmp_path):
    raw = yaml.safe_load(FILE.read_text())
    del raw["bundle"]
    raw["views"] = None
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(raw))
    params = load_params(
        path, ["views.seed=3", "bundle.max_drop=2", "prepare.path=/a=b", "prepare.source=folder"]
    )
    assert (params.views.seed, params.bundle.max_drop) == (3, 2.0)
    assert params.prepare.path == "/a=b"


@pytest.mark.parametrize(
    "override",
    ["run.seed", "=3", "run.seed=[1", "run.seed.deeper=1", "quantize.candidates.0.name=x", ".=1"],
)
def test_a_malformed_override_is_refused(override):
    refusal(FILE, override)


@given(
    st.floats(1e-300, 1e6),
    st.sampled_from(["{:e}", "{:E}", "{:.0e}", "{:+.3e}", "{!r}", "{:.17g}"]),
)
def test_all_number_formats_of_python_are_numbers(number, style):
    text = style.format(number)
    assert load_params(FILE, [f"distill.lr={text}"]).distill.lr == float(text)


def test_a_short_exponent_is_a_number_in_the_file_too_and_text_stays_text(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(FILE.read_text().replace("lr: 0.01\n", "lr: 1e-2\n"))
    params = load_params(path, ["bundle.name=e3", "finetune.model='1e3'"])
    assert params.finetune.lr == 0.01
    assert (params.bundle.name, params.finetune.model) == ("e3", "1e3")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just words",
        "- a\n- list\n",
        "run: {seed: 1",
        "run: *nowhere\n",
        "? [1, 2]\n: 3\n",
        "run: \0\n",
        "run: 2024-99-01\n",
        "[" * 1000,
        "1: 2\n",
        "null: 2\n",
        "run: &run\n  again: *run\n",
    ],
)
def test_a_file_that_is_not_a_mapping_of_sections_is_refused(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    assert refusal(path).startswith(f"{path}: ")


def test_a_missing_file_and_one_that_is_not_utf8_are_refused(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"run: \xff\xfe\n")
    assert "valid YAML" in refusal(path)
    assert "No such file" in refusal(tmp_path / "none.yaml")
    assert "directory" in refusal(tmp_path)


@pytest.mark.parametrize("by_override", [False, True])
def test_yaml_that_constructs_objects_is_refused_and_executes_nothing(tmp_path, by_override):
    mark = tmp_path / "mark"
    attack = f"!!python/object/apply:os.mkdir [{mark}]"
    path = tmp_path / "params.yaml"
    path.write_text(f"run: {attack}\n")
    if by_override:
        refusal(FILE, f"run.seed={attack}")
    else:
        assert "python/object" in refusal(path)
    assert not mark.exists()
    # An unsafe loader executes it.
    yaml.unsafe_load(path.read_text())
    assert mark.exists()


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("run: {seed: 1}\nviews: {}\nrun: {seed: 2}\n", "run", (1, 3)),
        ("run:\n  seed: 1\n  device: cpu\n  seed: 1\n", "seed", (2, 4)),
        ("quantize:\n  candidates:\n    - {name: a, name: b}\n", "name", (3, 3)),
        ("scout: {rounds: 3, 'rounds': 4}\n", "rounds", (1, 1)),
    ],
)
def test_a_key_that_is_set_twice_is_refused_with_both_lines(tmp_path, text, key, lines):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    first, second = lines
    message = rf"params\.yaml: .*{key!r} is set in line {first} and again in line {second}"
    for model in (params_model(), Scout, Compare):
        with pytest.raises(ParameterError, match=message):
            load_section(path, model)


def test_an_override_with_a_key_twice_is_refused():
    refusal(FILE, "views={seed: 1, seed: 2}")


def test_a_merged_mapping_may_be_overridden(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n")
    assert read_values(path)["b"] == {"x": 1, "y": 3}


def test_a_merged_mapping_may_be_merged_again(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("a: &a {x: 1}\nb: {c: {d: &d {<<: *a, x: 2}}}\ne: {<<: *d}\n")
    assert read_values(path) == {"a": {"x": 1}, "b": {"c": {"d": {"x": 2}}}, "e": {"x": 2}}
