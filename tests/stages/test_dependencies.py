"""The code dependencies in ``dvc.yaml`` are the modules that each stage uses."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.code_fingerprint import import_closure
from tests.small_project import PROJECT

STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
# Writes the effective values of the parameters, which the other stages depend on.
WRITES_PARAMETERS = "resolve"


def modules_of(stage: str) -> set[str]:
    """Files of the modules that a stage uses, relative to the project."""
    closure = import_closure(f"stages.{stage}").values()
    return {path.relative_to(PROJECT).as_posix() for path in closure}


def declared(stage: str) -> list[str]:
    """Dependencies on code in ``dvc.yaml``."""
    return [
        path for path in STAGES[stage]["deps"] if path.startswith(("pipeline", "stages", "dep"))
    ]


def covers(dependency: str, file: str) -> bool:
    return file == dependency or Path(dependency) in Path(file).parents


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_a_stage_uses_is_a_dependency(stage: str) -> None:
    missing = {
        file
        for file in modules_of(stage)
        if not any(covers(dependency, file) for dependency in declared(stage))
    }
    assert not missing, f"add to the deps of {stage} in dvc.yaml: {sorted(missing)}"


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != WRITES_PARAMETERS])
def test_no_stage_depends_on_code_that_it_does_not_use(stage: str) -> None:
    used = modules_of(stage)
    unused = [
        dependency
        for dependency in declared(stage)
        if Path(dependency).suffix in ("", ".py")
        and not any(covers(dependency, file) for file in used)
    ]
    assert not unused, f"remove from the deps of {stage} in dvc.yaml: {unused}"


def test_the_first_stage_depends_on_all_parameters() -> None:
    assert {"params.yaml", "pipeline/params"} <= set(STAGES[WRITES_PARAMETERS]["deps"])
