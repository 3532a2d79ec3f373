"""One machine to measure on."""

from __future__ import annotations

from pydantic import Field, model_validator

from pipeline.plugins.section import Section

LOCAL = "local"


class ListedDevice(Section):
    """This machine, or one that the OpenSSH client leads to without asking anything."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9.-]*$",
        description="Name, also of its file of measurements; `local` is this machine.",
    )
    host: str | None = Field(
        None,
        pattern=r"^[^\s-]\S*$",
        description="user@host, or a name of your ssh configuration.",
    )
    port: int | None = Field(None, ge=1, le=65535, description="Port; null is what ssh takes.")
    python: str = Field(
        "python3",
        pattern=r"^[^\s-].*$",
        description="Python 3.9 or newer there, with NumPy and the inference runtimes; `~/` is "
        "the home folder there.",
    )
    folder: str | None = Field(
        None,
        min_length=1,
        description="Folder there to copy models and images to, for as long as it takes; null is "
        "the user's cache, or else the folder of temporary files.",
    )

    @model_validator(mode="after")
    def _this_machine_or_another(self) -> ListedDevice:
        if self.name != LOCAL:
            if self.host is None:
                raise ValueError(f"device {self.name!r} needs a host; this machine is {LOCAL!r}")
            return self
        for key in ("host", "port", "python", "folder"):
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(
                    f"{LOCAL!r} is this machine and has no {key}; name the device otherwise"
                )
        return self
