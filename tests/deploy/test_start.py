"""What runs when an unpacked bundle starts: the files in its manifest, and nothing else."""

from __future__ import annotations

import json
import os
import py_compile
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Make = Callable[..., Path]

MODULE = ("-m", "finch_runtime")
DIRECTORY = ("-I", "finch_runtime")
STARTS = pytest.mark.parametrize("start", [MODULE, DIRECTORY], ids=["module", "directory"])


def run(folder: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Starts Python in a folder, as a user would."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env={**clean, "PYTHONIOENCODING": "utf-8", **variables},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def assert_refused(done: subprocess.CompletedProcess[str], path: Path) -> None:
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith(f"finch_runtime: {path}: "), done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def write_marker(marker: Path) -> str:
    return f"open({str(marker)!r}, 'w').close()\n"


@STARTS
@pytest.mark.parametrize("damage", ["cut", "empty", "other code"])
@pytest.mark.parametrize("name", ["cli", "errors", "integrity", "regular", "runtimes/openvino"])
def test_damaged_code_is_refused_before_it_runs(
    make_bundle: Make, tmp_path: Path, start: tuple[str, str], name: str, damage: str
) -> None:
    folder = make_bundle()
    path = folder / "finch_runtime" / f"{name}.py"
    code = path.read_text()
    marker = tmp_path / "ran"
    other = code + write_marker(marker)
    path.write_text({"cut": code[: len(code) // 2], "empty": "", "other code": other}[damage])
    done = run(folder, *start, "classify", "--help")
    is_check = name in ("integrity", "regular")
    assert_refused(done, path if damage == "other code" or not is_check else path.parent)
    assert not marker.exists() or is_check, "only the checks themselves run before they are checked"


@pytest.mark.parametrize("name", ["__main__", "__init__"])
def test_an_empty_start_is_refused(make_bundle: Make, name: str) -> None:
    folder = make_bundle()
    path = folder / "finch_runtime" / f"{name}.py"
    path.write_text("")
    assert_refused(run(folder, *MODULE, "classify", "--help"), path)


@STARTS
@pytest.mark.parametrize("name", ["json.py", "numpy.py", "openvino/__init__.py", "numpy.so"])
def test_a_file_in_the_bundle_replaces_no_module(
    make_bundle: Make, tmp_path: Path, start: tuple[str, str], name: str
) -> None:
    folder = make_bundle()
    marker = tmp_path / "ran"
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(write_marker(marker))
    assert_refused(run(folder, *start, "classify", "--help"), folder / name)
    assert not marker.exists()


def test_sitecustomize_is_refused_and_does_not_run_in_isolated_mode(
    make_bundle: Make, tmp_path: Path
) -> None:
    folder = make_bundle()
    marker = tmp_path / "ran"
    (folder / "sitecustomize.py").write_text(write_marker(marker))
    done = run(tmp_path, "-I", folder / "finch_runtime", "--help", PYTHONPATH=str(folder))
    assert_refused(done, folder / "sitecustomize.py")
    assert not marker.exists()
    # Python runs it before the bundle's code; that can only be told afterwards.
    done = run(tmp_path, *MODULE, "--help", PYTHONPATH=str(folder))
    assert_refused(done, folder / "sitecustomize.py")


@STARTS
@pytest.mark.parametrize("name", ["cli.py", "bundle.py", "runtimes/__init__.py"])
def test_an_update_never_runs_the_bytecode_of_the_replaced_file(
    make_bundle: Make, start: tuple[str, str], name: str
) -> None:
    folder = make_bundle()
    path = folder / "finch_runtime" / name
    new = path.read_text()
    old = "raise SystemExit('the old code')\n"
    path.write_text(old + "#" * (len(new.encode()) - len(old)))
    os.utime(path, (0, 0))
    py_compile.compile(str(path), invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
    path.write_text(new)
    os.utime(path, (0, 0))
    assert run(folder, *start, "--help").returncode == 0


@STARTS
def test_a_run_leaves_no_bytecode(make_bundle: Make, start: tuple[str, str]) -> None:
    # Python itself runs that of the first file, whatever the file does.
    folder = make_bundle()
    assert run(folder, *start, "--help").returncode == 0
    assert not list(folder.rglob("*.pyc"))


def test_a_module_that_an_update_has_removed_is_refused(make_bundle: Make) -> None:
    folder = make_bundle()
    path = folder / "finch_runtime" / "prediction.py"
    path.write_text("")
    done = run(folder, *MODULE, "--help")
    assert_refused(done, path)
    assert "empty folder" in done.stderr


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": 3}', '{"files": {"a": 1}}'])
def test_a_damaged_manifest_is_refused(make_bundle: Make, content: str) -> None:
    folder = make_bundle()
    (folder / "manifest.json").write_text(content)
    done = run(folder, *MODULE, "--help")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


@STARTS
def test_both_starts_classify_and_compare_in_any_folder(
    make_bundle: Make, photos: list[Path], tmp_path: Path, start: tuple[str, str]
) -> None:
    folder = make_bundle()
    if start == DIRECTORY:
        command: list[object] = ["-I", folder / "finch_runtime"]
        variables = {}
    else:
        command, variables = list(MODULE), {"PYTHONPATH": str(folder)}
    done = run(tmp_path, *command, "classify", photos[0], "--json", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[0]["image"] == str(photos[0])

    import numpy as np

    np.save(tmp_path / "images.npy", np.zeros((2, 8, 8, 3), np.uint8))
    model = f"onnxruntime={folder / 'model.onnx'}"
    plan = ("--turns", 1, "--runs", 1, "--warmup-seconds", 0)
    images = ("--images", tmp_path / "images.npy")
    done = run(tmp_path, *command, "compare", model, model, *images, *plan, **variables)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_python_api_refuses_as_well(make_bundle: Make) -> None:
    folder = make_bundle()
    (folder / "finch_runtime" / "images.py").write_text("")
    program = "import sys; sys.path.insert(0, sys.argv[1]); import finch_runtime.bundle"
    done = run(folder.parent, "-c", program, folder)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ") and "images.py: differs" in last


def test_a_missing_package_is_one_line(make_bundle: Make) -> None:
    done = run(make_bundle(), "-S", *MODULE, "--help")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("finch_runtime: numpy: is not installed; pip install")


def test_names_are_printed_without_control_characters(make_bundle: Make) -> None:
    folder = make_bundle()
    (folder / "finch_runtime" / "\x1b[31m\u202e\nx.py").write_text("")
    done = run(folder, *MODULE, "--help")
    assert done.returncode == 2
    assert "\\x1b[31m\\u202e\\nx.py: is not part of the bundle" in done.stderr
    assert len(done.stderr.splitlines()) == 1
