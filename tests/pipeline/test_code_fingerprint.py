import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import code_fingerprint as module_of_fingerprints
from pipeline.code_fingerprint import (
    code_fingerprint,
    import_closure,
    plugin_fingerprint,
    plugin_packages_fingerprint,
    stage_fingerprint,
)
from pipeline.losses.kd import KDLoss

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "module",
    [
        pytest.param("pipeline.training.loop", marks=pytest.mark.slow),  # imports torch
        pytest.param("pipeline.logit_cache.writer", marks=pytest.mark.slow),
        "pipeline.shipping.select",
    ],
)
def test_every_module_that_an_import_runs_is_found(module):
    program = (
        f"import sys, {module}\n"
        "for name, each in sys.modules.items():\n"
        "    if name.startswith(('pipeline.', 'finch_runtime.')) and not hasattr(each, '__path__'):"
        " print(name)"
    )
    command = [sys.executable, "-c", program]
    output = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    imported = set(output.split())
    left_out = {
        name
        for name in imported
        if name.startswith(("pipeline.params.", "pipeline.plugins."))
        or name in ("pipeline.errors", "pipeline.files", "pipeline.progress", "pipeline.quiet")
        or name in ("pipeline.storage", "pipeline.unfinished")
        or name in ("pipeline.code_fingerprint", "finch_runtime.telemetry")
        # Read by the parameters, to validate names of plug-ins.
        or name.startswith(("pipeline.losses", "pipeline.data.sources", "pipeline.quantize"))
        or name == "finch_runtime.formats"  # imported by the sources
        or name == "pipeline.aspect_ratio"  # imported by the parameters
    }
    assert module in imported
    assert imported - left_out <= import_closure(module).keys()


def test_imports_inside_functions_count_but_not_those_for_type_checkers():
    closure = import_closure("stages.report")
    assert "pipeline.report.page" in closure  # imported inside the function
    assert "pipeline.training.loop" not in closure
    assert "pipeline.measure.evaluation" not in import_closure("stages.export")


def test_a_plug_in_counts_where_plug_ins_are_looked_up():
    assert "pipeline.losses.dkd" in import_closure("stages.distill")
    assert "pipeline.losses.dkd" not in import_closure("stages.finetune")
    assert "pipeline.losses.dkd" not in import_closure("stages.distill", plugins=False)
    assert "pipeline.report.sections.classes" in import_closure("stages.report")


def test_a_fingerprint_has_the_code_of_the_plug_in_that_is_used_and_of_no_other(project):
    folder, fingerprint = project
    of_kd = ("pipeline.training.distillation_inputs", "pipeline.losses.kd")
    before = fingerprint(*of_kd)
    (folder / "pipeline/losses/dkd.py").write_text("changed = 1\n")
    assert fingerprint(*of_kd) == before
    (folder / "pipeline/losses/kd.py").write_text("changed = 1\n")
    assert fingerprint(*of_kd) != before


def test_what_only_the_command_line_uses_does_not_count():
    closure = import_closure("stages.distill")
    assert "stages.training" in closure
    assert not closure.keys() & {"stages.command", "stages.console", "stages.workspace"}
    assert "finch_runtime.telemetry" not in closure


def test_a_program_that_is_run_counts_as_a_whole():
    assert "finch_runtime.cli" in import_closure("pipeline.measure.runtime")
    assert "finch_runtime.runtimes.openvino" in import_closure("finch_runtime.session")


def test_an_unknown_module_is_an_error():
    with pytest.raises(ModuleNotFoundError, match=r"pipeline\.nothing"):
        import_closure("pipeline.nothing")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of the source, and the fingerprint of modules in it."""
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("pipeline", "stages"):
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=ignored)
    runtime = PROJECT / "deploy" / "python" / "finch_runtime"
    shutil.copytree(runtime, tmp_path / "finch_runtime", ignore=ignored)
    monkeypatch.setattr(module_of_fingerprints, "_folder_of", tmp_path.joinpath)

    def fingerprint(*modules):
        for cached in (module_of_fingerprints._nodes, module_of_fingerprints._used_by):
            cached.cache_clear()
        return code_fingerprint(*modules)

    yield tmp_path, fingerprint
    fingerprint()  # forgets the copy


def test_a_changed_source_changes_the_hash_of_its_users_only(project):
    folder, fingerprint = project
    loop, writer = fingerprint("pipeline.training.loop"), fingerprint("pipeline.logit_cache.writer")
    changed = folder / "pipeline" / "training" / "optimizer.py"
    changed.write_bytes(changed.read_bytes().replace(b"\n", b"\r\n"))
    assert fingerprint("pipeline.training.loop") == loop
    changed.write_text(changed.read_text() + "\nEPSILON = 1e-9\n")
    assert fingerprint("pipeline.training.loop") != loop
    assert fingerprint("pipeline.logit_cache.writer") == writer


def test_a_stage_has_another_fingerprint_if_its_code_or_its_templates_change(project):
    folder, fingerprint = project

    def all_stages():
        fingerprint()
        names = ("prepare", "distill", "evaluate", "report")
        return {name: stage_fingerprint(f"stages.{name}") for name in names}

    before = all_stages()
    for path, stages in {
        "pipeline/report/page.html.jinja": {"prepare", "report"},
        "pipeline/losses/dkd.py": {"distill"},
        "finch_runtime/timing.py": {"evaluate", "report"},
        "pipeline/params/recipes/photographs.yaml": set(),  # its values are compared as such
    }.items():
        (folder / path).write_text((folder / path).read_text() + "\n")
        after = all_stages()
        assert {name for name in before if after[name] != before[name]} == stages, path
        before = after


def test_a_class_of_another_package_adds_its_file(tmp_path, monkeypatch):
    path = tmp_path / "other_package.py"
    path.write_text("class Loss:\n    weight = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import other_package

    before = code_fingerprint("pipeline.training.loop", other_package.Loss)
    assert before != code_fingerprint("pipeline.training.loop")
    path.write_text("class Loss:\n    weight = 2\n")
    assert code_fingerprint("pipeline.training.loop", other_package.Loss) != before


def test_a_plug_in_package_counts_as_a_whole(tmp_path, monkeypatch):
    package, info = tmp_path / "finch_owls", tmp_path / "finch_owls-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: finch-owls\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[finch.plugins]\nowls = finch_owls.losses\n")
    (package / "terms").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "losses.py").write_text("class Loss:\n    weight = 1\n")
    terms = package / "terms" / "sums.py"
    terms.write_text("def total(x):\n    return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    from finch_owls.losses import Loss

    before = code_fingerprint("pipeline.training.loop", Loss)
    terms.write_text("def total(x):\n    return 2 * x\n")
    assert code_fingerprint("pipeline.training.loop", Loss) != before
    alone = plugin_fingerprint(KDLoss, Loss)
    assert alone is not None and alone == plugin_packages_fingerprint()
    terms.write_text("def total(x):\n    return 3 * x\n")
    assert plugin_fingerprint(KDLoss, Loss) != alone
    assert plugin_fingerprint(KDLoss) is None
