"""Names outside of ASCII, in processes whose locale has another encoding than UTF-8."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from finch_runtime.names import decode_name
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

LABELS = {"apple", "pear", "crème brûlée", "plum", "fig"}


@pytest.fixture(params=["ASCII", "Latin-1"])
def locale(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Environment of a process with this encoding."""
    if request.param == "ASCII":
        return {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    made = tmp_path / "locales" / "de_DE"
    made.parent.mkdir()
    command = ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", made]
    if shutil.which("localedef") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("there are no sources of locales; on Debian: apt-get install locales")
    return {"LC_ALL": "de_DE", "LOCPATH": str(made.parent), "PYTHONUTF8": "0"}


def run(locale: dict[str, str], *words: str | Path) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **locale}
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_bundle_in_any_folder_classifies_and_names_what_it_is_given(
    locale: dict[str, str], make_bundle: Callable[..., Path], tmp_path: Path, runtime: str
) -> None:
    folder = make_bundle(runtime).rename(tmp_path / "Vögel 蜂")
    image = tmp_path / "Bücher.png"
    Image.new("RGB", (9, 9)).save(image)
    command = [folder / "finch_runtime", "classify", image, "--top", "5"]
    structured = run(locale, *command, "--json")
    assert structured.returncode == 0, structured.stderr
    (result,) = json.loads(structured.stdout)
    assert result["image"] == str(image)
    assert {each["label"] for each in result["top"]} == LABELS
    encoding = "latin-1" if "LOCPATH" in locale else "ascii"
    shown = run(locale, *command)
    assert shown.returncode == 0, shown.stderr
    assert "crème brûlée".encode(encoding, "backslashreplace") in shown.stdout
    missing = run(locale, *command[:2], tmp_path / "fehlt-ü.png")
    assert missing.returncode == 2
    assert b"no such file" in missing.stderr


def test_a_name_that_is_not_utf8_stays_what_it_is() -> None:
    name = os.fsdecode(b"B\xfccher.png")
    assert decode_name(name) == name
    assert decode_name(Path("Bücher.png")) == "Bücher.png"
