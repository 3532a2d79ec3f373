"""Exit code, last line and outputs of the stage for each verdict. The models are not run."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from pipeline.files import read_json, write_json
from pipeline.measure.accuracy import score
from pipeline.measure.evaluation import read_evaluation
from pipeline.params import load_params
from pipeline.statistics import paired_drop
from stages import command
from stages.bundle import bundle
from stages.replay import replay
from tests.pipeline.shipping.small_chain import LABELS, Chain, write_chain
from tests.small_project import PROJECT, small_params


class Project:
    """The artifacts of one run, and a student that gives the predictions, int [n]."""

    def __init__(self, chain: Chain) -> None:
        self.chain, self.root = chain, chain.root
        (self.root / "params.yaml").write_text(yaml.safe_dump(small_params(self.root / "photos")))
        (self.root / "deploy").symlink_to(PROJECT / "deploy")
        recipe = load_params(self.root / "params.yaml").distill.model_dump(mode="json")
        chain.edit("models/student/model.json", recipe=recipe)
        self.labels = np.repeat([0, 1, 2], [40, 30, 30])
        self.predict(self.labels)

    def predict(self, student: np.ndarray) -> None:
        scored = vars(score(np.eye(3)[student], self.labels))
        figures = {key: scored[key] for key in ("accuracy", "balanced_accuracy", "recalls")}
        drop = paired_drop(np.ones(100, dtype=bool), student == self.labels)
        evaluation = read_evaluation(self.chain.evaluated)
        evaluation = replace(
            evaluation,
            images=100,
            candidates=[replace(m, **figures, drop_to_teacher=drop) for m in evaluation.candidates],
            class_images=dict(zip(LABELS, [40, 30, 30], strict=True)),
        )
        write_json(self.chain.evaluated, asdict(evaluation))

    def run(self, *limits: str) -> Result:
        return CliRunner().invoke(bundle, [part for limit in limits for part in ("--set", limit)])

    def outputs(self) -> list[str]:
        return sorted(path.name for path in (self.root / "dist").glob("*"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(command, "raise_interrupts", lambda: None)
    project = Project(write_chain(tmp_path / "run"))
    monkeypatch.chdir(project.root)
    return project


def test_a_good_student_passes(project: Project) -> None:
    done = project.run("bundle.min_accuracy=0.9", "bundle.min_class_recall=0.9")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1].endswith("; verdict: pass")
    assert project.outputs() == ["finch-student.tar.gz", "manifest.json"]
    manifest = read_json(project.root / "dist/manifest.json")
    assert manifest["verdict"] == {"level": "pass", "reasons": []}


def test_a_student_that_always_answers_one_class_is_bundled_with_a_warning(
    project: Project,
) -> None:
    project.predict(np.zeros(100, dtype=np.intp))
    done = project.run()
    assert done.exit_code == 0, done.output
    *_, last = done.output.splitlines()
    names = ("max_drop_to_teacher", "min_class_recall", "majority_class")
    assert last.endswith(f"; verdict: warn ({', '.join(names)})")
    for name in names:
        assert f"[bundle] warn: {name}: " in done.output
    verdict = read_json(project.root / "dist/manifest.json")["verdict"]
    assert verdict["level"] == "warn"
    assert [reason["name"] for reason in verdict["reasons"]] == list(names)


def test_a_violated_limit_fails_and_nothing_is_bundled(project: Project) -> None:
    project.predict(np.zeros(100, dtype=np.intp))
    done = project.run("bundle.min_class_recall=0.1")
    assert done.exit_code == 1
    *_, last = done.output.splitlines()
    assert last.startswith("finch bundle: ") and "verdict fail" in last
    assert "below 10 % for 2 of 3 classes: 'b' 0.0 % (95 % CI 0.0 to 11.6; 30 images)" in last
    assert not project.outputs()


def test_a_replay_prints_the_verdict_and_its_reasons(project: Project) -> None:
    project.predict(np.zeros(100, dtype=np.intp))
    recording = str(project.chain.evaluated)
    done = CliRunner().invoke(replay, [recording, "--set", "bundle.min_accuracy=0.5"])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert any(line.startswith("verdict on ort-") and line.endswith(": fail") for line in lines)
    assert any(line.startswith("fail: min_accuracy: accuracy of 40.0 %") for line in lines)
    assert any(line.startswith("warn: majority_class: ") for line in lines)
    old = CliRunner().invoke(replay, [str(PROJECT / "tests/recordings/epyc_vnni.json")])
    assert old.exit_code == 0 and "verdict" not in old.output
