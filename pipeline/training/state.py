"""The state of a training run: everything that a training step changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.class_metrics import Metric
from pipeline.training.averaging import AveragedWeights
from pipeline.training.rng import get_rng_states, set_rng_states


@dataclass(frozen=True)
class Epoch:
    """Metrics of one epoch.

    Attributes:
        epoch: Number of the epoch, starting at 1; 0 for initial weights that are not trained.
        loss: Mean training loss per image; NaN in epoch 0.
        terms: Mean of each weighted loss term, by name; their sum is the loss.
        val_accuracy: Validation accuracy, 0…1.
        val_balanced_accuracy: Balanced validation accuracy, 0…1.
        val_macro_f1: Macro F1 on the validation split, 0…1.
    """

    epoch: int
    loss: float
    terms: dict[str, float]
    val_accuracy: float
    val_balanced_accuracy: float
    val_macro_f1: float

    def metric(self, name: Metric) -> float:
        """A validation metric by name."""
        value: float = getattr(self, f"val_{name}")
        return value


@dataclass
class TrainingState:
    """The state of a training run, convertible to tensors and a JSON value.

    Attributes:
        model: Model that is trained.
        loss: Loss function, which may have buffers.
        optimizer: Optimizer; the learning rate is computed from the step and not saved.
        ema: Averaged weights, if enabled.
        scaler: Gradient scaler for fp16.
        device: Training device.
        steps: Number of finished steps of the current epoch.
        sums: Loss and loss terms of these steps, summed over the images.
        history: Finished epochs.
        best_weights: Weights of the epoch that is kept.
    """

    model: nn.Module
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    ema: AveragedWeights | None
    scaler: torch.amp.GradScaler
    device: torch.device
    steps: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[Epoch] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the state, including generator states, by name."""
        grouped = {name: module.state_dict() for name, module in self._modules().items()}
        grouped |= {"best": self.best_weights, "rng": get_rng_states(self.device)}
        for index, slots in self.optimizer.state_dict()["state"].items():
            grouped[f"optimizer.{index}"] = {n: v for n, v in slots.items() if torch.is_tensor(v)}
        return {f"{part}.{name}": t for part, group in grouped.items() for name, t in group.items()}

    def metadata(self) -> dict[str, Any]:
        """The rest of the state, as a JSON value."""
        return {
            "steps": self.steps,
            "sums": self.sums,
            "history": [asdict(epoch) for epoch in self.history],
            "scaler": self.scaler.state_dict(),
        }

    def load(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Loads what ``tensors()`` and ``metadata()`` of the same training run returned.

        Tensors keep the memory format of this state, which a checkpoint does not contain: it can
        change the last bit of a result.

        Raises:
            RuntimeError: A tensor is missing, unexpected, or has another shape.
        """
        for name, module in self._modules().items():
            module.load_state_dict(_strip(name, tensors))
        self.best_weights = {n: t.to(self.device) for n, t in _strip("best", tensors).items()}
        self._load_optimizer(_strip("optimizer", tensors))
        self.steps = metadata["steps"]
        self.sums = dict(metadata["sums"])
        self.history = [Epoch(**epoch) for epoch in metadata["history"]]
        if metadata["scaler"]:
            self.scaler.load_state_dict(metadata["scaler"])
        set_rng_states(self.device, _strip("rng", tensors))

    def _modules(self) -> dict[str, nn.Module]:
        modules = {"model": self.model, "loss": self.loss, "ema": self.ema}
        return {name: module for name, module in modules.items() if module is not None}

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
    """The tensors of a part, by name without its prefix."""
    prefix = f"{part}."
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
