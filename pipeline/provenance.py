"""The inputs that an artifact records, and the check that they are still the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ArtifactError

# Keys of the records, and how messages name the inputs.
_INPUTS = {
    "data": "data/prepared",
    "teacher": "models/teacher",
    "teacher_logits": "data/teacher_logits",
    "student": "models/student",
    "onnx": "models/onnx",
    "qat": "models/qat",
    "candidates": "models/candidates",
    "evaluation": "reports/evaluations",
    "runtime": "deploy/python/finch_runtime",
}


def check_inputs(path: Path, recorded: Mapping[str, object], **present: str) -> None:
    """Checks that an artifact was made from the present inputs.

    Examples:
        >>> check_inputs(Path("models/onnx/student.onnx"), {"student": "0123"}, student="0123")

    Args:
        path: The artifact, for the error message. The command line adds the stage that writes it.
        recorded: Hash of each input when the artifact was made.
        present: Hash of each input now; these inputs are compared.

    Raises:
        ArtifactError: A hash is missing or differs. The message has both.
    """
    for key, now in present.items():
        then, name = recorded.get(key), _INPUTS.get(key, key)
        if then is None:
            raise ArtifactError(path, f"does not record the {name} that it was made from")
        if then != now:
            problem = f"was made from {name} {str(then)[:12]}, which is now {now[:12]}"
            raise ArtifactError(path, problem)


def check_params(path: Path, section: str, recorded: Any, present: Any) -> None:
    """Checks that an artifact was made with the present parameters.

    Args:
        path: The artifact, for the error message.
        section: Name of the section, for the error message.
        recorded: Parameters when the artifact was made, as JSON values.
        present: Parameters now.

    Raises:
        ArtifactError: A parameter differs, is new, or is gone. The message has both values.
    """
    then, now = (dict(_leaves(section, json.loads(json.dumps(v)))) for v in (recorded, present))
    for key in [*now, *then]:
        if (key in then, then.get(key)) != (key in now, now.get(key)):
            was, is_now = (values.get(key, "unset") for values in (then, now))
            raise ArtifactError(path, f"was made with {key} = {was}, which is now {is_now}")


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values of nested objects, by dotted key."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    else:
        yield key, value
