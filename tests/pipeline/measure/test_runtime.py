import os
import signal

import pytest

from pipeline.errors import MeasurementError
from pipeline.measure.runtime import MeasuredModel, run_model, run_side_by_side


@pytest.fixture
def run(tmp_path):
    """Runs a stand-in for the device runtime that does what a few lines of Python say."""

    def run(body, threads=3, model="model.onnx"):
        package = tmp_path / "runtime" / "finch_runtime"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(body)
        return run_model(
            "bench",
            MeasuredModel(tmp_path / model, "onnxruntime"),
            tmp_path / "images.npy",
            ["--json"],
            threads=threads,
            runtime_folder=package.parent,
        )

    return run


def test_the_process_gets_what_the_runtime_asks_for(run, tmp_path):
    assert run("import sys; print(*sys.argv[1:], sep='\\n')").splitlines() == [
        "bench",
        *("--model", str(tmp_path / "model.onnx"), "--runtime", "onnxruntime"),
        *("--threads", "3", "--images", str(tmp_path / "images.npy")),
        "--json",
    ]


def test_relative_paths_mean_the_same_to_the_process(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_text("here")
    body = "import sys; print(open(sys.argv[3]).read())"
    assert run(body, model="sub/../model.onnx").strip() == "here"


def test_settings_around_it_do_not_reach_the_process(run, monkeypatch, tmp_path):
    leak = tmp_path / "leak"
    leak.mkdir()
    (leak / "leaked.py").touch()
    (leak / "finch_runtime.py").write_text("raise SystemExit('the wrong runtime')")
    monkeypatch.chdir(leak)
    monkeypatch.setenv("PYTHONPATH", str(leak))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setenv("KMP_AFFINITY", "compact")
    monkeypatch.setenv("HTTPS_PROXY", "kept")
    body = (
        "import importlib.util as u, os; e = os.environ;"
        "print(u.find_spec('leaked'), e['OMP_NUM_THREADS'], e['MKL_NUM_THREADS'],"
        "e.get('OMP_WAIT_POLICY'), e.get('KMP_AFFINITY'), e['HTTPS_PROXY'])"
    )
    assert run(body).split() == ["None", "3", "3", "None", "None", "kept"]


def test_the_runtime_folder_stays_as_it_is(run, tmp_path):
    run("import finch_runtime")
    assert not list(tmp_path.rglob("__pycache__"))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            "import sys; print('noise', file=sys.stderr);"
            "print('finch_runtime: onnxruntime: is not installed; pip install it',"
            "file=sys.stderr); sys.exit(2)",
            "model.onnx: could not be run: onnxruntime: is not installed; pip install it",
        ),
        (
            "import sys; sys.exit(f'finch_runtime: {sys.argv[3]}: is damaged; make it again')",
            "model.onnx: could not be run: is damaged; make it again",
        ),
        ("raise SystemExit(7)", "could not be run: its process ended with code 7"),
        ("1 / 0", "could not be run: ZeroDivisionError"),
        pytest.param(
            f"import os; os.kill(os.getpid(), {int(getattr(signal, 'SIGKILL', 0))})",
            "could not be run: its process was ended by SIGKILL",
            marks=pytest.mark.skipif(os.name != "posix", reason="no signals"),
        ),
    ],
)
def test_a_failure_names_the_model_and_the_last_words(run, tmp_path, body, says):
    with pytest.raises(MeasurementError) as caught:
        run(body)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "model.onnx"))
    assert says in message
    assert "\n" not in message


def test_an_installed_runtime_does_not_stand_in_for_a_missing_one(tmp_path):
    with pytest.raises(MeasurementError, match="holds no device runtime"):
        run_model(
            "predict",
            MeasuredModel(tmp_path / "m.onnx", "onnxruntime"),
            tmp_path / "images.npy",
            [],
            threads=1,
            runtime_folder=tmp_path,
        )


@pytest.mark.parametrize(
    ("said", "about"),
    [
        ("{b}: is damaged; make it again", "b.onnx: could not be run: is damaged; make it again"),
        ("images: do not fit; mend them", "models side by side: could not be run: images: do not"),
    ],
)
def test_of_several_models_the_one_that_failed_is_named(tmp_path, said, about):
    package = tmp_path / "runtime" / "finch_runtime"
    package.mkdir(parents=True)
    said = said.format(b=tmp_path / "b.onnx")
    (package / "__main__.py").write_text(f"raise SystemExit({f'finch_runtime: {said}'!r})")
    models = [MeasuredModel(tmp_path / f"{name}.onnx", "onnxruntime") for name in "ab"]
    with pytest.raises(MeasurementError) as caught:
        run_side_by_side(
            models, tmp_path / "images.npy", [], threads=1, runtime_folder=package.parent
        )
    assert about in str(caught.value)
