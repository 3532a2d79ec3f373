"""An OpenVINO int8 model of which any layers are put back into float.

NNCF takes from seconds to minutes, most of them for the ranges and the biases, so that it runs once
and what it did to a layer is undone: the ranges of its input, its weights and its bias. Its own
accuracy control works in this way, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.quantize.layers import Layer, find_layers
from pipeline.quantize.node_names import name_in_order

if TYPE_CHECKING:
    from openvino import Model, Node

_WEIGHTED = (
    "Convolution",
    "GroupConvolution",
    "ConvolutionBackpropData",
    "GroupConvolutionBackpropData",
    "MatMul",
)
# What hands values on as they are, so that a range before it is one of what comes after it.
_HANDS_ON = ("Reshape", "Squeeze", "Unsqueeze", "Transpose", "MaxPool", "StridedSlice", "Pad")


def find_weighted(source: Path, model: Model) -> dict[str, Layer]:
    """The layers of the exported student by the names of their operators in its OpenVINO form.

    Args:
        source: The exported student.
        model: The same, as ``openvino.convert_model`` gives it. It is changed: its operators are
            named by their place, by names that NNCF keeps.
    """
    import onnx

    layers = {layer.nodes[0]: layer for layer in find_layers(onnx.load(source))}
    found = []
    for op in model.get_ordered_ops():
        # Such as "node_Conv_856/WithoutBiases".
        layer = layers.get(op.get_friendly_name().partition("/")[0])
        if layer is not None and op.get_type_name() in _WEIGHTED:
            found.append((op, layer))
    name_in_order(model)
    return {op.get_friendly_name(): layer for op, layer in found}


class OpenVINOVariants:
    """The ``Variants`` of OpenVINO.

    Args:
        weighted: The layers by the names of their operators, which are the same in both models.
        student: In float.
        int8: What NNCF made of it.
        save: Writes a model into a folder.
    """

    def __init__(
        self,
        weighted: Mapping[str, Layer],
        student: Model,
        int8: Model,
        save: Callable[[Model, Path], Path],
    ) -> None:
        self._weighted = weighted
        self._student = {op.get_friendly_name(): op for op in student.get_ops()}
        self._int8 = int8
        self._save = save
        self.layers = tuple(weighted.values())

    def write(self, folder: Path, in_float: Collection[str] = ()) -> Path:
        """As ``Variants`` says."""
        model = self._int8.clone()
        kept = {name for name, layer in self._weighted.items() if layer.name in in_float}
        if kept:
            makers = self._makers(model)
            for op in model.get_ordered_ops():
                if op.get_type_name() == "FakeQuantize" and all(
                    makers.get(user.get_friendly_name()) in kept for user in _users(op)
                ):
                    op.output(0).replace(op.input_value(0))
                elif op.get_friendly_name() in kept:
                    self._restore(op)
            model.validate_nodes_and_infer_types()
        return self._save(model, folder)

    def _makers(self, model: Model) -> dict[str, str]:
        """The operator with weights that each operator belongs to: the last that it depends on."""
        makers: dict[str, str] = {}
        order = list(self._weighted)
        for op in model.get_ordered_ops():
            name = op.get_friendly_name()
            before = [value.get_node().get_friendly_name() for value in op.input_values()]
            found = [makers[other] for other in before if other in makers]
            if name in self._weighted:
                makers[name] = name
            elif found:
                makers[name] = max(found, key=order.index)
        return makers

    def _restore(self, op: Node) -> None:
        """Gives an operator its own weights and bias again."""
        from openvino import opset13

        def constant(owner: Node) -> Node:
            return opset13.constant(owner.input_value(1).get_node().get_data())

        op.input(1).replace_source_output(constant(self._student[op.get_friendly_name()]).output(0))
        for user in _direct_users(op):
            if user.get_type_name() != "Add" or not _adds_constant(user):
                continue
            own = self._student.get(user.get_friendly_name())
            if own is None:  # a bias that the student does not have
                user.output(0).replace(op.output(0))
            else:
                user.input(1).replace_source_output(constant(own).output(0))


def _adds_constant(op: Node) -> bool:
    return bool(op.input_value(1).get_node().get_type_name() == "Constant")


def _direct_users(op: Node) -> list[Node]:
    return [target.get_node() for target in op.output(0).get_target_inputs()]


def _users(op: Node) -> Iterator[Node]:
    """What uses a value, be it through operators that hand it on."""
    for user in _direct_users(op):
        if user.get_type_name() in _HANDS_ON:
            yield from _users(user)
        else:
            yield user
