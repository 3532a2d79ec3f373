import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.small_project import PROJECT, small_params

ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.fixture(params=["ASCII", "Latin-1"])
def locale(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Environment of a process with another encoding."""
    if request.param == "ASCII":
        return ASCII
    made = tmp_path / "locales" / "de_DE"
    made.parent.mkdir()
    command = ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", made]
    if shutil.which("localedef") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("there are no sources of locales; on Debian: apt-get install locales")
    return {"LC_ALL": "de_DE", "LOCPATH": str(made.parent)}


def run(locale: dict[str, str], *arguments: str, cwd: Path = PROJECT) -> bytes:
    path = os.pathsep.join((str(PROJECT), str(PROJECT / "deploy/python")))
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONUTF8"}
    environment = {**kept, "PYTHONPATH": path, **locale}
    words = [sys.executable, *arguments]
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, check=True).stdout


@pytest.mark.parametrize("flags", [[], ["-E"]])
def test_a_process_and_those_that_it_starts_use_utf8(
    locale: dict[str, str], flags: list[str]
) -> None:
    encoding = "print(__import__('sys').getfilesystemencoding())"
    code = (
        "import subprocess, sys; from stages.encoding import ensure_utf8; ensure_utf8(); "
        f"{encoding}; print(ascii(sys.argv[1]), flush=True); "
        f"subprocess.run([sys.executable, '-c', {encoding!r}])"
    )
    assert run(locale, *flags, "-c", code, "Grün").split() == [b"utf-8", b"'Gr\\xfcn'", b"utf-8"]


@pytest.mark.slow
def test_names_of_classes_do_not_depend_on_the_locale(
    locale: dict[str, str], tmp_path: Path
) -> None:
    names = ["Grün", "Höhle 丸"]
    for kind, name in enumerate(names):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(6):
            color = (40 * number, 99 * kind, 0)
            Image.new("RGB", (9, 9), color).save(tmp_path / f"images/{name}/{number}.png")
    params = small_params(tmp_path / "images")
    params["prepare"] |= {"split": "random", "near_duplicates_together": False}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), "utf-8")
    run(locale, "-m", "stages.prepare", cwd=tmp_path)
    data = json.loads((tmp_path / "data/prepared/dataset.json").read_text("utf-8"))
    assert data["classes"] == names
