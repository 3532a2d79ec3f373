"""Which stages DVC would run again, and why."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import FinchError

# The file that `resolve` writes: DVC would only see a changed value after that stage has run.
_PARAMS = "reports/params.yaml"
_CHANGES = {"new": "is new", "deleted": "is missing", "not in cache": "is missing"}

State = Literal["current", "stale", "follows", "check"]


@dataclass(frozen=True)
class StageState:
    """A stage of ``dvc.yaml``.

    Attributes:
        name: Name of the stage.
        state: ``stale``: something has changed since its last run. ``follows``: nothing has, but a
            stage that it depends on will run. ``check``: nothing has, but it always runs, since it
            looks at what DVC cannot see.
        reasons: What has changed; of ``follows``, the stages that will run.
    """

    name: str
    state: State
    reasons: list[str]


def read_states(folder: Path, params: Mapping[str, Any]) -> list[StageState]:
    """The stages in ``dvc.yaml`` of a folder, in its order.

    Args:
        folder: A DVC repository, or a folder in one.
        params: Effective values of all parameters, which are compared with those of each stage's
            last run.

    Raises:
        FinchError: The folder is in no DVC repository, its files are not valid, or DVC is in use.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.lock import LockError
    from dvc.repo import Repo

    folder = folder.resolve()
    try:
        with Repo(str(folder)) as repo:
            found, depends_on = repo.status(), repo.index.graph
            stages = [s for s in repo.index.stages if Path(s.path) == folder / "dvc.yaml"]
            reasons = {s: [*_reasons(s, found.get(s.addressing, []), params)] for s in stages}
    except NotDvcRepoError:
        raise FinchError(folder, "is in no DVC repository", "git init && dvc init") from None
    except LockError:
        raise FinchError(folder, "another dvc command is running", "wait for it") from None
    except DvcException as error:
        raise FinchError(folder, f"DVC fails: {error}", "see `dvc status`") from None

    @cache
    def judge(stage: Any) -> StageState:
        before = [judge(each) for each in depends_on[stage] if each in reasons]
        running = [each.name for each in before if each.state in ("stale", "follows")]
        # What a stage before it will write is not missing for a reason of its own.
        own = [text for text, is_output in reasons[stage] if not (is_output and running)]
        if own:
            return StageState(stage.name, "stale", own)
        if running:
            return StageState(stage.name, "follows", running)
        return StageState(stage.name, "check" if stage.always_changed else "current", [])

    return [judge(stage) for stage in stages]


def _reasons(stage: Any, found: list[Any], params: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Why DVC runs a stage, and whether the reason is an output of another stage that is missing.

    Args:
        stage: A stage of DVC.
        found: Its part of the result of ``dvc status``.
        params: Effective values of all parameters.
    """
    if all(dependency.hash_info.value is None for dependency in stage.deps):
        yield "has not run yet", False
        return
    own = {str(each): each for each in stage.deps if _path(stage, each) == _PARAMS}
    for dependency in own.values():
        recorded = dependency.hash_info.value or {}
        for change in _param_changes(recorded, params, dependency.params):
            yield change, False
    for entry in found:
        if entry == "changed command":
            yield "its command has changed", False
        elif isinstance(entry, dict):
            ((kind, changes),) = entry.items()
            for path, change in changes.items():
                if path in own:
                    continue
                name = os.path.relpath(path, stage.wdir)
                keys = f": {', '.join(change)}" if isinstance(change, dict) else ""
                how = "has changed" if keys else _CHANGES.get(change, "has changed")
                yield f"{name}{keys} {how}", kind == "changed deps" and how == "is missing"


def _path(stage: Any, dependency: Any) -> str:
    return Path(os.path.relpath(dependency.fs_path, stage.wdir)).as_posix()


def _param_changes(
    recorded: Mapping[str, Any], params: Mapping[str, Any], keys: list[str]
) -> Iterator[str]:
    """Values that differ from those of the last run, such as ``distill.lr: 0.1 -> 0.2``."""
    now: dict[str, str] = {}
    for key in keys or params:
        value: Any = params
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        now |= _leaves(key, value)
    then: dict[str, str] = {}
    for key, value in recorded.items():
        then |= _leaves(key, value)
    for key in dict.fromkeys([*now, *then]):
        if now.get(key) != then.get(key):
            yield f"{key}: {then.get(key, 'unset')} -> {now.get(key, 'unset')}"


def _leaves(key: str, value: Any) -> dict[str, str]:
    """Nested values by dotted key, as JSON, in which YAML's and Python's values are the same."""
    if isinstance(value, Mapping) and value:
        return {
            k: v
            for name, inner in value.items()
            for k, v in _leaves(f"{key}.{name}", inner).items()
        }
    return {key: json.dumps(value, default=str, ensure_ascii=False)}
