"""The versions that an ONNX file declares, which decide what runtimes open it.

A runtime refuses a file whose IR version or operator sets are newer than itself, even if it has
every operator of the file. Exporters and quantizers declare newer versions than a file needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def save_with_lowest_versions(model: ModelProto, path: Path) -> None:
    """Writes a model with the lowest IR version of its operator sets, without unused sets.

    The model is modified.
    """
    import onnx

    nodes = [node for part in (model.graph, *model.functions) for node in _all_nodes(part.node)]
    used = {_domain(node.domain) for node in nodes}
    kept = [opset for opset in model.opset_import if _domain(opset.domain) in used | {""}]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    # Sets outside of the ONNX standard, such as com.microsoft, need no IR version.
    model.ir_version = onnx.helper.find_min_ir_version_for(kept, ignore_unknown=True)
    onnx.save(model, path)


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name  # two names of the standard operators


def _all_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Nodes, and those of the graphs in their attributes."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _all_nodes(graph.node)
