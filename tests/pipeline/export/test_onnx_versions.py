import onnx
import pytest
from onnx import TensorProto, helper

from pipeline.export.onnx_versions import save_with_lowest_versions

X = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
Y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
QUANTIZED = helper.make_node("QLinearAdd", ["x"], ["y"], domain="com.microsoft")


def model(*nodes, **opsets):
    domains = {name.replace("_", "."): version for name, version in opsets.items()}
    imports = [helper.make_opsetid(name.removeprefix("standard"), v) for name, v in domains.items()]
    graph = helper.make_graph(nodes, "graph", [X], [Y])
    return helper.make_model(graph, opset_imports=imports, ir_version=12)


def declared(file, path):
    save_with_lowest_versions(file, path)
    written = onnx.load(path)
    return written.ir_version, {opset.domain: opset.version for opset in written.opset_import}


@pytest.mark.parametrize(("opset", "ir"), [(18, 8), (19, 9), (20, 9), (21, 10), (22, 10), (23, 11)])
def test_the_ir_version_is_the_lowest_one_of_the_opset(opset, ir, tmp_path):
    file = model(helper.make_node("Relu", ["x"], ["y"]), standard=opset)
    assert declared(file, tmp_path / "model.onnx") == (ir, {"": opset})


def test_operator_sets_without_operators_are_removed(tmp_path):
    file = model(helper.make_node("Relu", ["x"], ["y"]), standard=18, ai_onnx_ml=5, com_microsoft=1)
    assert declared(file, tmp_path / "model.onnx") == (8, {"": 18})


def test_operator_sets_with_operators_are_kept_also_in_branches(tmp_path):
    branch = helper.make_graph([QUANTIZED], "branch", [], [Y])
    condition = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    file = model(condition, standard=18, com_microsoft=1, ai_onnx_ml=5)
    assert declared(file, tmp_path / "model.onnx") == (8, {"": 18, "com.microsoft": 1})
