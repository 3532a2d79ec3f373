"""Checkpoints from which an interrupted training run resumes.

A checkpoint is one safetensors file with the rest of the state as JSON in its header; nothing is
pickled. It is replaced atomically, so a killed process leaves the previous or the new checkpoint.
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
from torch import Tensor, nn

from pipeline.errors import ArtifactError, StorageError, one_line
from pipeline.files import atomic_file, hash_value
from pipeline.models.saved_tensors import to_saved
from pipeline.models.zoo import library_versions
from pipeline.training.process_rank import read_process_rank
from pipeline.training.state import TrainingState

FORMAT = 3  # part of the key, so a checkpoint of another format is never read
_DELETE = "delete it to train from the start"


def checkpoint_key(model: nn.Module, device: torch.device, **inputs: Any) -> str:
    """A hash of everything that the trained weights depend on, as 64 hex digits.

    Where training is deterministic (on the CPU, and with ``run.deterministic``), this includes the
    number of threads and the world size. Otherwise they only affect rounding, so a run may resume
    with another world size.

    Args:
        model: Model with its initial weights.
        device: Training device.
        inputs: JSON values such as recipe, views, fingerprint of the data and seed.
    """
    initial = hashlib.sha256(_to_bytes(model.state_dict())).hexdigest()
    environment = [FORMAT, library_versions(), device.type]
    if device.type == "cpu" or torch.are_deterministic_algorithms_enabled():
        environment += [torch.get_num_threads(), read_process_rank().world_size]
    return hash_value([environment, initial, inputs])


class Checkpoints:
    """The checkpoint of one training run, in a folder that other runs may share.

    Only one process may use a folder at a time.

    Args:
        folder: Must not be a DVC output, since DVC deletes those before a stage runs.
        key: Result of ``checkpoint_key``.
        minutes: Interval between checkpoints within an epoch.
    """

    def __init__(self, folder: Path, key: str, minutes: float) -> None:
        self.folder = folder
        self.path = folder / f"{key}.safetensors"
        self._seconds = 60 * minutes
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether the interval since the last checkpoint has passed."""
        return time.monotonic() - self._last >= self._seconds

    def save(self, state: TrainingState) -> None:
        """Replaces the checkpoint.

        Raises:
            StorageError: It cannot be written; the previous one is intact.
        """
        content = _to_bytes(state.tensors(), {"state": json.dumps(state.metadata())})
        try:
            with atomic_file(self.path) as temporary:
                temporary.write_bytes(content)
        except StorageError as error:
            if not self.path.exists():
                raise
            problem = f"{error.problem}; the previous checkpoint is intact"
            raise StorageError(error.thing, problem, error.remedy) from error
        self._last = time.monotonic()

    def restore(self, state: TrainingState) -> bool:
        """Loads the checkpoint into ``state``; returns False if there is none.

        Raises:
            ArtifactError: The file is damaged, or does not fit this training run.
        """
        for partial in self.folder.glob(".*.safetensors"):  # left by a killed process
            partial.unlink()
        if not self.path.is_file():
            return False
        try:
            with safe_open(self.path, "pt") as file:
                metadata = json.loads((file.metadata() or {})["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise ArtifactError(self.path, f"is damaged ({one_line(error)})", _DELETE) from None
        try:
            state.load(tensors, metadata)
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            problem = f"does not fit this training run ({one_line(error)})"
            raise ArtifactError(self.path, problem, _DELETE) from None
        return True

    def clear(self) -> None:
        """Removes the folder, including the checkpoints of other runs."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _to_bytes(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    content: bytes = save(to_saved(tensors), metadata)
    return content
