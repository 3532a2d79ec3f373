"""Edits of a YAML file that leave comments and all other lines as they are.

PyYAML's parser locates the values in the text. A round trip through ruamel.yaml would also rewrite
other lines: ``{ a: 1 }`` would become ``{a: 1}``, and ``null`` an empty value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import yaml


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """``old`` updated with the values of ``new``, section by section."""
    result = dict(old)
    for key, value in new.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested sections by dotted name; a list is one value."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def changed(text: str, values: Mapping[str, Any]) -> str:
    """The text of a YAML file with new values.

    Args:
        text: A YAML mapping with at least one key, such as ``params.yaml``.
        values: Nested values to set. Missing keys are added at the top of their section.
    """
    root = cast(yaml.MappingNode, yaml.compose(text, Loader=yaml.SafeLoader))
    newline = "\r\n" if "\r\n" in text else "\n"
    for start, end, new in sorted(_edits(root, values), reverse=True):
        text = text[:start] + new.replace("\n", newline) + text[end:]
    return text


def _edits(section: yaml.MappingNode, values: Mapping[str, Any]) -> Iterator[tuple[int, int, str]]:
    """Start and end offset in the text, and the replacement."""
    first = section.value[0][0].start_mark
    after = ", " if section.flow_style else "\n" + " " * first.column
    present = {key.value for key, _ in section.value}
    for key, value in values.items():
        if key not in present:
            yield first.index, first.index, f"{key}: {as_yaml(value)}{after}"
    for key, node in section.value:
        value, before = values.get(key.value), yaml.SafeLoader("").construct_object(node, deep=True)
        if key.value not in values or before == value:
            continue
        if isinstance(node, yaml.MappingNode) and node.value and isinstance(value, Mapping):
            yield from _edits(node, value)
            continue
        start, end = node.start_mark, _end(node)
        # An empty value starts right after the colon; a list may start in the column of its key.
        close = start.index == end or start.column == key.start_mark.column
        yield start.index, end, " " * close + as_yaml(value)


def _end(node: yaml.Node) -> int:
    """End offset of a node; PyYAML extends one in block style to the start of the next."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def as_yaml(value: Any) -> str:
    """A value as YAML on one line."""
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    )
    return text.removesuffix("...\n").strip()
