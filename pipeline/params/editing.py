"""Changes of a parameter file that leave its comments and its other lines as they are.

A YAML library would write the whole file anew, in its own style. Here the library only says where
a value stands in the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import yaml

Edit = tuple[int, int, str]
"""Characters from, to, and what they become."""


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """``old`` with the values of ``new``, section by section."""
    result = dict(old)
    for key, value in new.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def changed(text: str, values: Mapping[str, Any]) -> str:
    """The text of a YAML file with other values, by sections as ``merged`` takes them.

    Args:
        text: A mapping with at least one key, such as ``params.yaml``.
        values: What to set; keys that are not there are added at the top of their section.
    """
    root = cast(yaml.MappingNode, yaml.compose(text, Loader=yaml.SafeLoader))
    for start, end, new in sorted(_edits(root, values), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _edits(section: yaml.MappingNode, values: Mapping[str, Any]) -> Iterator[Edit]:
    first = section.value[0][0].start_mark
    after = ", " if section.flow_style else "\n" + " " * first.column
    there = {key.value for key, _ in section.value}
    for key, value in values.items():
        if key not in there:
            yield first.index, first.index, f"{key}: {_written(value)}{after}"
    for key, node in section.value:
        if key.value not in values or _value(node) == values[key.value]:
            continue
        value = values[key.value]
        if isinstance(node, yaml.MappingNode) and node.value and isinstance(value, Mapping):
            yield from _edits(node, value)
            continue
        start, end = node.start_mark, _end(node)
        # A value left out stands right behind its colon, and a list may stand just below its key.
        close = start.index == end or start.column == key.start_mark.column
        yield start.index, end, " " * close + _written(value)


def _end(node: yaml.Node) -> int:
    """Where a node ends; PyYAML lets one in block style reach to the next."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _value(node: yaml.Node) -> Any:
    return yaml.SafeLoader("").construct_object(node, deep=True)


def _written(value: Any) -> str:
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    )
    return text.removesuffix("...\n").strip()
