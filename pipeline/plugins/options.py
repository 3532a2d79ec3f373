"""Parameters from the signature and the docstring of a class or function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any, get_type_hints

import docstring_parser
from pydantic import Field, create_model

from pipeline.plugins.section import Section


def options_of(
    target: Callable[..., Any], name: str, *, exclude: Collection[str] = ()
) -> type[Section]:
    """The keyword-only arguments of a class or function as a group of parameters.

    Types and limits come from the annotations (``Annotated[float, Field(ge=0)]``), defaults from
    the signature, and descriptions from the ``Args`` of the docstring, for a class also from those
    of its base classes.

    Args:
        target: A class, whose ``__init__`` is read, or a function.
        name: Name of the resulting model, which has one field per argument.
        exclude: Keyword-only arguments that are not parameters for users.

    Raises:
        TypeError: An argument has no default or no description.

    Examples:
        >>> def resize(image: object, *, size: int = 96) -> object:
        ...     '''Resizes an image.
        ...
        ...     Args:
        ...         size: Height and width in pixels.
        ...     '''
        >>> options_of(resize, "ResizeOptions")().model_dump()
        {'size': 96}
    """
    function: Callable[..., Any] = target.__init__ if inspect.isclass(target) else target
    hints = get_type_hints(function, include_extras=True)
    sources = reversed(target.__mro__) if inspect.isclass(target) else [target]
    described = {
        arg.arg_name: " ".join((arg.description or "").split())
        for source in sources
        for arg in docstring_parser.parse(source.__doc__ or "").params
    }
    fields: dict[str, Any] = {}
    for argument in inspect.signature(function).parameters.values():
        if argument.kind is not argument.KEYWORD_ONLY or argument.name in exclude:
            continue
        description = described.get(argument.name)
        if argument.default is argument.empty or not description:
            raise TypeError(
                f"{target.__qualname__}: {argument.name} needs a default and a description "
                "under Args"
            )
        field = Field(argument.default, description=description)
        fields[argument.name] = (hints[argument.name], field)
    return create_model(name, __base__=Section, __doc__=f"Options of {name}.", **fields)
