"""A logit cache of a teacher with another image size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.stage_process import StageProcesses


@pytest.mark.slow
def test_a_cache_of_another_teacher_size_is_refused_in_one_line(project: Path) -> None:
    stages = StageProcesses()
    stages.run_all(project, "prepare", "finetune", "cache_logits", "distill")
    path = project / "data/teacher_logits/cache.json"
    info = json.loads(path.read_text())
    info["key"]["image_size"] = 64
    path.write_text(json.dumps(info))
    ended = stages.run(project, "distill")
    assert ended.returncode == 1
    assert len(ended.stderr.strip().splitlines()) == 1
    for words in ("64 px", "32 px", "run `finch cache-logits`"):
        assert words in ended.stderr
