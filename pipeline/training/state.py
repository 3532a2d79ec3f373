"""The state of a training: everything that a step reads and changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pipeline.training.rng import get_rng_states, set_rng_states

_MODULES = ("model", "loss", "ema")


@dataclass(frozen=True)
class Epoch:
    """Metrics of one epoch.

    Attributes:
        epoch: Number of the epoch, from 1.
        loss: Mean training loss per image.
        terms: Mean of each weighted loss term, by name; they add up to the loss.
        val_accuracy: Validation accuracy, 0…1.
    """

    epoch: int
    loss: float
    terms: dict[str, float]
    val_accuracy: float


@dataclass
class TrainingState:
    """The state of a training, convertible to tensors and a JSON value.

    Attributes:
        model: The model.
        loss: The loss, which may have buffers.
        optimizer: Its learning rate is a function of the step, so it is not part of the state.
        ema: Averaged weights, if enabled.
        scaler: Gradient scaler of fp16.
        device: Device of all of these.
        steps: Finished steps of the current epoch.
        sums: Loss and loss terms of these steps, summed over the images.
        history: Finished epochs.
        best_weights: ``state_dict`` to return after training.
    """

    model: nn.Module
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    ema: AveragedModel | None
    scaler: torch.amp.GradScaler
    device: torch.device
    steps: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[Epoch] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the state, including generator states, by name."""
        slots: dict[int, dict[str, Any]] = self.optimizer.state_dict()["state"]
        return (
            {
                f"{part}.{name}": tensor
                for part in _MODULES
                if getattr(self, part) is not None
                for name, tensor in getattr(self, part).state_dict().items()
            }
            | {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
            | {
                f"optimizer.{index}.{name}": value
                for index, values in slots.items()
                for name, value in values.items()
                if isinstance(value, Tensor)
            }
            | {f"rng.{name}": state for name, state in get_rng_states(self.device).items()}
        )

    def metadata(self) -> dict[str, Any]:
        """The rest of the state, as a JSON value."""
        return {
            "steps": self.steps,
            "sums": self.sums,
            "history": [asdict(epoch) for epoch in self.history],
            "scaler": self.scaler.state_dict(),
        }

    def load(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Loads what ``tensors()`` and ``metadata()`` of the same training returned.

        Memory formats of this state are kept: a saved tensor has lost its format, and the order of
        numbers in memory can change the last bit of a result.

        Raises:
            RuntimeError: A tensor is missing, unexpected, or has another shape.
        """
        for part in _MODULES:
            if getattr(self, part) is not None:
                getattr(self, part).load_state_dict(_strip(part, tensors))
        self.best_weights = {n: t.to(self.device) for n, t in _strip("best", tensors).items()}
        self._load_optimizer(_strip("optimizer", tensors))
        self.steps = metadata["steps"]
        self.sums = dict(metadata["sums"])
        self.history = [Epoch(**epoch) for epoch in metadata["history"]]
        if metadata["scaler"]:
            self.scaler.load_state_dict(metadata["scaler"])
        set_rng_states(self.device, _strip("rng", tensors))

    def _load_optimizer(self, tensors: Mapping[str, Tensor]) -> None:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        slots: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            index, _, name = key.partition(".")
            parameter = parameters[int(index)]
            if tensor.shape == parameter.shape and tensor.ndim:
                tensor = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
            slots.setdefault(int(index), {})[name] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})


def _strip(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors below a prefix, by the rest of their names."""
    prefix = f"{part}."
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
