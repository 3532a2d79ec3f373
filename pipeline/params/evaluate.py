"""Section ``evaluate``: the devices to measure on, and how candidates are measured."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from pipeline.plugins.section import LocalText, Section

LOCAL = "local"

_Threads = Annotated[int, Field(ge=1, le=256)]
_BatchSize = Annotated[int, Field(ge=1, le=4096)]
# A text without control characters, which is no option of a command.
_WORD = r"^[^\s\x00-\x1f\x7f-][^\s\x00-\x1f\x7f]*$"
_LINE = r"^[^\s\x00-\x1f\x7f-][^\x00-\x1f\x7f]*$"


class ListedDevice(Section):
    """This machine, or one that the OpenSSH client can log in to without a prompt."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9.-]*$",
        max_length=100,
        description="Name of the device and of its evaluation file; `local` is this machine.",
    )
    host: LocalText | None = Field(
        None,
        pattern=_WORD,
        description="user@host, or a host name of your ssh configuration.",
    )
    port: int | None = Field(
        None, ge=1, le=65535, description="Port; null: that of the ssh configuration."
    )
    python: LocalText = Field(
        "python3",
        pattern=_LINE,
        description="Python 3.9 or newer on the device, with NumPy and the inference runtimes; "
        "`~/` is the home folder there.",
    )
    folder: LocalText | None = Field(
        None,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="Folder on the device for temporary copies of models and images; null: the "
        "user's cache, or else the folder of temporary files.",
    )

    @model_validator(mode="after")
    def _is_local_or_has_host(self) -> ListedDevice:
        if self.name != LOCAL:
            if self.host is None:
                raise ValueError(f"device {self.name!r} needs a host; {LOCAL!r} is this machine")
            return self
        for key in ("host", "port", "python", "folder"):
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"device {LOCAL!r} is this machine and takes no {key}; rename it")
        return self


class Evaluate(Section):
    """Measurements of every candidate on every device."""

    devices: list[ListedDevice] = Field(
        default_factory=lambda: [ListedDevice(name=LOCAL)],
        min_length=1,
        max_length=100,
        description="Devices to measure on, one after the other.",
    )
    rounds: int = Field(
        5, ge=3, le=1000, description="Minimum number of rounds; each round starts new processes."
    )
    max_rounds: int = Field(30, ge=3, le=1000, description="Maximum number of rounds.")
    max_minutes: float = Field(
        2.0,
        gt=0,
        le=10_000,
        description="Time limit of all rounds. A round that would exceed it is not started.",
    )
    max_process_minutes: float = Field(
        120.0,
        gt=0,
        le=10_000,
        description="Time limit of one process on a device, to which sustained_seconds is added. "
        "Its model counts as one that the device cannot run.",
    )
    max_half_width: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Rounds end early when the 95 % CI half-width of every candidate's latency "
        "ratio to fp32 is at most this fraction of the ratio.",
    )
    turns: int = Field(
        40, ge=3, le=1000, description="Turns of every model in a round, interleaved."
    )
    runs: int = Field(6, ge=3, le=1000, description="Timed inferences per turn.")
    warmup: int = Field(
        30,
        ge=1,
        le=100_000,
        description="Minimum number of warm-up inferences before the first turn.",
    )
    warmup_seconds: float = Field(
        0.2, ge=0, le=3600, description="Minimum duration of the warm-up."
    )
    threads: _Threads = Field(1, description="Threads of the inference runtime.")
    batches: list[_BatchSize] = Field(
        [1, 2, 4, 8, 16, 32],
        max_length=100,
        description="Batch sizes for measuring throughput, if the model's batch size is dynamic; "
        "[]: throughput is not measured.",
    )
    thread_sweep: list[_Threads] = Field(
        default_factory=list,
        max_length=100,
        description="Additional numbers of threads for measuring latency and throughput.",
    )
    sustained_seconds: float = Field(
        0.0,
        ge=0,
        le=86_400,
        description="Duration of a run without pauses per model, which shows thermal throttling; "
        "0 disables it.",
    )

    @model_validator(mode="after")
    def _rounds_are_ordered(self) -> Evaluate:
        if self.max_rounds < self.rounds:
            raise ValueError(f"max_rounds {self.max_rounds} is below rounds {self.rounds}")
        return self

    @model_validator(mode="after")
    def _device_names_differ(self) -> Evaluate:
        names = [device.name for device in self.devices]
        if len(set(names)) != len(names):
            raise ValueError(f"devices have the same name: {', '.join(sorted(names))}")
        return self
