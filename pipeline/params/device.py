"""An entry of ``evaluate.devices``."""

from __future__ import annotations

from pydantic import Field, model_validator

from pipeline.plugins.section import Section

LOCAL = "local"


class ListedDevice(Section):
    """This machine, or one that the OpenSSH client can log in to without a prompt."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9.-]*$",
        description="Name, also of the device's evaluation file; `local` is this machine.",
    )
    host: str | None = Field(
        None,
        pattern=r"^[^\s-]\S*$",
        description="user@host, or a host name of your ssh configuration.",
    )
    port: int | None = Field(
        None, ge=1, le=65535, description="Port; null: that of the ssh configuration."
    )
    python: str = Field(
        "python3",
        pattern=r"^[^\s-].*$",
        description="Python 3.9 or newer on the device, with NumPy and the inference runtimes; "
        "`~/` is the home folder there.",
    )
    folder: str | None = Field(
        None,
        min_length=1,
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
                raise ValueError(
                    f"device {LOCAL!r} is this machine and takes no {key}; use another name"
                )
        return self
