"""``dvc.yaml`` as documented."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.small_project import PROJECT

DVC = yaml.safe_load((PROJECT / "dvc.yaml").read_text())
STAGES = DVC["stages"]


def paths(entries: list[Any]) -> list[str]:
    """Paths of outputs, metrics or params, with or without options."""
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def outputs(stage: str) -> list[str]:
    return paths([*STAGES[stage].get("outs", []), *STAGES[stage].get("metrics", [])])


def reads_from(stage: str) -> set[str]:
    """The stages that write what a stage reads."""
    read = [*STAGES[stage]["deps"], *paths(STAGES[stage].get("params", []))]
    return {
        other
        for other in STAGES
        if any(dep == out or dep.startswith(f"{out}/") for dep in read for out in outputs(other))
    }


def test_the_picture_has_all_stages_and_no_wrong_arrow() -> None:
    page = (PROJECT / "docs/dvc.md").read_text("utf-8")
    picture = page.partition("```mermaid\n")[2].partition("```")[0]
    assert set(re.findall(r"(\w+)\[", picture)) == set(STAGES)
    arrows = re.findall(r"(\w+) --> (\w+)", picture)
    assert {stage for arrow in arrows for stage in arrow} == set(STAGES)
    assert [(a, b) for a, b in arrows if a not in reads_from(b)] == []


def test_git_has_the_outputs_that_dvc_does_not_cache(tmp_path: Path) -> None:
    """So that a clone has all outputs, and every commit its metrics."""
    uncached = {
        path
        for stage in STAGES.values()
        for entry in [*stage.get("outs", []), *stage.get("metrics", [])]
        for path, options in (entry.items() if isinstance(entry, dict) else ())
        if not options.get("cache", True)
    }
    shutil.copy(PROJECT / ".gitignore", tmp_path)
    for path in (out for stage in STAGES for out in outputs(stage)):
        file = tmp_path / path if Path(path).suffix else tmp_path / path / "file"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    untracked = [*git, "ls-files", "--others", "--exclude-standard"]
    found = subprocess.run(untracked, check=True, capture_output=True, text=True).stdout.split()
    assert set(found) == {".gitignore", *uncached}
    assert uncached == {
        path for stage in STAGES.values() for path in paths(stage.get("metrics", []))
    }


def test_dvc_finds_one_pipeline() -> None:
    """DVC reads every ``dvc.yaml`` of a repository; a template is no pipeline."""
    files = subprocess.check_output(["git", "ls-files"], cwd=PROJECT, text=True).splitlines()
    assert [path for path in files if path.endswith("dvc.yaml")] == ["dvc.yaml"]
