"""Checkpoints: where a training stands, kept on disk, so that a killed one goes on from there.

A checkpoint is one safetensors file, with what is no tensor as JSON in its header. It is replaced
as a whole, so a kill at any moment leaves the one before or the new one. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from pipeline.errors import ArtefactError, TrainingError
from pipeline.files import hash_value, whole_file
from pipeline.training.process_rank import read_process_rank
from pipeline.training.state import State

FORMAT = 1
_DELETE = "delete it to train from the start"


def checkpoint_key(model: nn.Module, device: torch.device, **inputs: Any) -> str:
    """Names a training by all that its weights follow from; another input is another training.

    On the CPU, where a training ends in the same bits, they follow from the number of threads and
    processes too. On a GPU they do so only up to rounding, and a training may go on with more
    processes or fewer.

    Args:
        model: With its first weights.
        device: Where it trains.
        inputs: JSON values: recipe, views, fingerprint of the data, seed and the like.

    Returns:
        64 hex digits.
    """
    weights = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    first = hashlib.sha256(save(weights)).hexdigest()
    surroundings = [FORMAT, torch.__version__, device.type]
    if device.type == "cpu":
        surroundings += [torch.get_num_threads(), read_process_rank().world_size]
    return hash_value([surroundings, first, inputs])


class Checkpoints:
    """The checkpoint of one training, beside those of trainings with other inputs.

    Only one process at a time may use a folder.

    Args:
        folder: Outside of what DVC deletes before a stage runs.
        key: Of this training, see ``checkpoint_key``.
        minutes: From one checkpoint within an epoch to the next.
    """

    def __init__(self, folder: Path, key: str, minutes: float) -> None:
        self.folder = folder
        self.path = folder / f"{key}.safetensors"
        self._seconds = 60 * minutes
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether the last checkpoint is old enough for another one."""
        return time.monotonic() - self._last >= self._seconds

    def save(self, state: State) -> None:
        """Puts a checkpoint in the place of the one before.

        Raises:
            TrainingError: It cannot be written; the one before is still whole.
        """
        tensors = {n: t.detach().cpu().contiguous() for n, t in state.tensors().items()}
        facts = json.dumps({"format": FORMAT, **state.facts()})
        try:
            with whole_file(self.path) as temporary:
                temporary.write_bytes(save(tensors, {"facts": facts}))
        except OSError as error:
            before = "; the checkpoint before it is whole" if self.path.exists() else ""
            raise TrainingError(
                self.path,
                f"the checkpoint cannot be written ({error.strerror}){before}",
                "make room, then run the same command again",
            ) from None
        self._last = time.monotonic()

    def restore(self, state: State) -> bool:
        """Puts training back to where its checkpoint was made.

        Returns:
            False when there is no checkpoint.

        Raises:
            ArtefactError: The file is damaged, or of another training in spite of its name.
        """
        for left in self.folder.glob(".*.safetensors"):  # half-written when a process was killed
            left.unlink()
        if not self.path.is_file():
            return False
        try:
            with safe_open(self.path, "pt") as file:
                facts = json.loads((file.metadata() or {})["facts"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            found = facts.pop("format")
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise ArtefactError(self.path, f"is damaged ({error})", _DELETE) from None
        if found != FORMAT:
            raise ArtefactError(
                self.path, f"has format {found!r}, this Finch reads {FORMAT}", _DELETE
            )
        problem = state.difference(tensors)
        if problem:
            raise ArtefactError(self.path, problem, _DELETE)
        try:
            state.restore(tensors, facts)
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            said = " ".join(str(error).split())
            raise ArtefactError(
                self.path, f"does not fit this training ({said})", _DELETE
            ) from None
        return True

    def clear(self) -> None:
        """Removes the checkpoints of this and of all other trainings in the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
