"""All that a training step reads and changes, as tensors and a JSON value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pipeline.training.history import Epoch
from pipeline.training.rng import random_states, set_random_states


@dataclass
class State:
    """Where training stands.

    Attributes:
        model: The network.
        objective: What a step minimises; it may have state of its own.
        optimizer: Its learning rate is a function of the step and so no part of the state.
        average: The averaged weights, if there are any.
        scaler: Keeps fp16 gradients in range.
        device: Where all of them are.
        steps: Steps of the current epoch that are done.
        sums: Of loss and parts over the images of these steps.
        history: The epochs that are done.
        kept: The weights to return, by name, as far as they are known.
    """

    model: nn.Module
    objective: nn.Module
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    scaler: torch.amp.GradScaler
    device: torch.device
    steps: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[Epoch] = field(default_factory=list)
    kept: dict[str, Tensor] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, Tensor]:
        """Weights and statistics of network, objective and average, by name."""
        parts = {"model": self.model, "objective": self.objective, "average": self.average}
        return {
            f"{part}.{name}": tensor
            for part, module in parts.items()
            if module is not None
            for name, tensor in module.state_dict().items()
        }

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is a tensor, random states included, by name."""
        slots: dict[int, dict[str, Any]] = self.optimizer.state_dict()["state"]
        return (
            self.weights
            | {f"kept.{name}": tensor for name, tensor in self.kept.items()}
            | {
                f"optimizer.{place}.{name}": value
                for place, values in slots.items()
                for name, value in values.items()
                if isinstance(value, Tensor)
            }
            | {f"random.{name}": state for name, state in random_states(self.device).items()}
        )

    def facts(self) -> dict[str, Any]:
        """Everything else, as a JSON value."""
        return {
            "steps": self.steps,
            "sums": self.sums,
            "history": [asdict(done) for done in self.history],
            "scaler": self.scaler.state_dict(),
        }

    def difference(self, tensors: Mapping[str, Tensor]) -> str | None:
        """What keeps tensors from being restored here: the first that does not fit; or None."""
        here = self.weights
        there = {n: t for n, t in tensors.items() if n.partition(".")[0] in _MODULES}
        for name in here | there:
            if name not in there:
                return f"has no {name}"
            if name not in here:
                return f"has {name}, which is not part of this training"
            found, expected = list(there[name].shape), list(here[name].shape)
            if found != expected:
                return f"has {name} of shape {found}, this training's is {expected}"
        return None

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Takes over what ``tensors`` and ``facts`` of a state like this one gave.

        Memory layouts are this state's own: a saved tensor has lost its layout, and the order in
        which numbers lie in memory can change the last bit of what is computed from them.
        """
        self.model.load_state_dict(_below("model", tensors))
        self.objective.load_state_dict(_below("objective", tensors))
        if self.average is not None:
            self.average.load_state_dict(_below("average", tensors))
        self.kept = {n: t.to(self.device) for n, t in _below("kept", tensors).items()}
        self._restore_optimizer(_below("optimizer", tensors))
        self.steps = facts["steps"]
        self.sums = dict(facts["sums"])
        self.history = [Epoch(**done) for done in facts["history"]]
        if facts["scaler"]:
            self.scaler.load_state_dict(facts["scaler"])
        set_random_states(self.device, _below("random", tensors))

    def _restore_optimizer(self, tensors: Mapping[str, Tensor]) -> None:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        slots: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            place, _, name = key.partition(".")
            parameter = parameters[int(place)]
            if tensor.shape == parameter.shape and tensor.ndim:
                tensor = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
            slots.setdefault(int(place), {})[name] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})


_MODULES = ("model", "objective", "average")


def _below(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{part}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
