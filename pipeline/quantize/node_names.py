"""Names of OpenVINO's nodes that depend on the model alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openvino import Model


def name_in_order(model: Model) -> None:
    """Names the nodes by their place.

    Nodes without a name are named after a counter of the process: the file would depend on what
    was made before it.
    """
    for index, node in enumerate(model.get_ordered_ops()):
        if node.get_type_name() not in ("Parameter", "Result"):
            node.set_friendly_name(f"{node.get_type_name()}_{index}")
