"""One candidate for deployment: the student in one precision, for one inference runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from pipeline.errors import one_of
from pipeline.params.messages import explain
from pipeline.params.renamed import NEW_VALUES
from pipeline.plugins import RUNTIMES
from pipeline.plugins.section import Section


def _runtime_options() -> dict[str, type[Section]]:
    """A model that declares each option of any runtime, by the option's name."""
    return {
        option: model
        for runtime in RUNTIMES.names()
        for model in RUNTIMES[runtime].int8_methods.values()
        for option in model.model_fields
    }


def _add_runtime_options(schema: dict[str, Any]) -> None:
    for option, model in _runtime_options().items():
        schema["properties"][option] = model.model_json_schema()["properties"][option]
    schema["additionalProperties"] = False


class Candidate(Section):
    """A runtime, a precision and, for int8, a method with its options.

    Which methods and options exist is declared by the runtime (``pipeline.quantize.runtimes``).
    """

    model_config = ConfigDict(extra="allow", json_schema_extra=_add_runtime_options)

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9.-]*$",
        max_length=100,
        description="Name of the candidate and of its folder.",
    )
    runtime: str = Field(description="Inference runtime.")
    precision: Literal["fp32", "fp16", "int8"] = Field(
        description="Type of the stored weights. For fp16, the runtime chooses the type of the "
        "computation."
    )
    batch: Literal["dynamic", 1] = Field(
        "dynamic", description="Batch size: dynamic, or fixed at 1."
    )
    method: str = Field(
        "static",
        description="Method of int8. `static`: ranges from calibration images; `dynamic` "
        "(onnxruntime): ranges of activations computed at run time; `weights` (openvino): "
        "activations in float; `qat`: the student of stage `qat`.",
    )
    _options: Section = PrivateAttr(default_factory=Section)

    @property
    def options(self) -> Section:
        """Options of the int8 method, as its runtime declares them; none for fp32 and fp16."""
        return self._options

    @property
    def is_reference(self) -> bool:
        """Whether it is the fp32 student that the others are compared with."""
        return (self.runtime, self.precision) == ("onnxruntime", "fp32")

    @property
    def is_static_int8(self) -> bool:
        """Whether it needs calibration images."""
        return (self.precision, self.method) == ("int8", "static")

    @property
    def supports_mixed_precision(self) -> bool:
        """Whether any of its layers can be kept in float."""
        return self.is_static_int8 and bool(RUNTIMES[self.runtime].mixed_precision)

    @property
    def mixed_name(self) -> str:
        """Name of the mixed-precision candidate that is derived from it."""
        return f"{self.name}-mixed"

    @model_validator(mode="before")
    @classmethod
    def _names_are_known(cls, values: object) -> object:
        if isinstance(values, Mapping):
            known = sorted({*cls.model_fields, *_runtime_options()})
            for name in values:
                one_of(str(name), known, "parameter of a candidate")
        return values

    @field_validator("runtime")
    @classmethod
    def _runtime_is_known(cls, value: str) -> str:
        return one_of(value, RUNTIMES.names(), RUNTIMES.kind)

    @model_validator(mode="after")
    def _runtime_offers_it(self) -> Candidate:
        given = self.model_extra
        assert given is not None  # `extra` is "allow"
        if self.precision != "int8":
            unused = [*given, *(["method"] if self.method != "static" else [])]
            if unused:
                raise ValueError(f"{self.precision} has no option {min(unused)}: it is for int8")
            return self
        runtime = RUNTIMES[self.runtime]
        options = runtime.int8_methods.get(self.method)
        if options is None:
            reason = runtime.unsupported.get(self.method)
            if renamed := NEW_VALUES.get(self.method):
                reason = f"it is now {renamed}"
            reason = reason or f"known: {', '.join(runtime.int8_methods) or 'none'}"
            raise ValueError(f"{self.runtime} has no int8 method {self.method!r}: {reason}")
        if unknown := given.keys() - options.model_fields.keys():
            known = ", ".join(sorted(options.model_fields)) or "no options"
            raise ValueError(
                f"{self.method} int8 by {self.runtime} has no option {min(unknown)}: {known}"
            )
        try:
            self._options = options.model_validate(given)
        except ValidationError as error:
            raise ValueError(explain(error, options)) from None
        given.update(self._options.model_dump())
        return self
