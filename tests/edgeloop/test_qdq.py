"""The Q/DQ checker accepts a graph by the book and names the rule and the node of every departure from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edgeloop.errors import BadInput
from edgeloop.qdq import Graph, check_graph, check_qdq, float_tail, name_of
from tests.detectors import float_detector, quantized_detector, replace_initializer


def broken(model: onnx.ModelProto, *, float_head: bool = True) -> set[tuple[str, str]]:
    return {(found.rule, found.node) for found in check_graph(Graph(model), float_head=float_head)}


def node_of(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def test_accepts_symmetric_qdq_with_a_float_head() -> None:
    """A graph that keeps every rule has no violation."""
    assert broken(quantized_detector()) == set()


def test_float_graph_is_not_quantized() -> None:
    """A graph without Q/DQ is refused as such, and only for that."""
    assert broken(float_detector()) == {("quantized", "graph")}


def test_head_is_found_by_structure() -> None:
    """The head's output convolutions and the DFL are found whatever they are called."""
    model = float_detector()
    names = {node.name: f"n{index}" for index, node in enumerate(model.graph.node)}
    for node in model.graph.node:
        node.name = names[node.name]
    graph = Graph(model)
    assert {name_of(node) for node in graph.head} == {names["box"], names["class"]}
    assert {name_of(node) for node in float_tail(graph)} == {names["box"], names["class"], names["dfl"]}


def asymmetric(model: onnx.ModelProto) -> None:
    replace_initializer(model, "body.data.zero", np.array(3, np.int8))


def unsigned(model: onnx.ModelProto) -> None:
    replace_initializer(model, "body.data.zero", np.array(0, np.uint8))


def no_zero_point(model: onnx.ModelProto) -> None:
    for name in ("body_q", "body_dq"):
        node_of(model, name).input.pop()


def zero_scale(model: onnx.ModelProto) -> None:
    replace_initializer(model, "body.weight.scale", np.array([0, *[0.1] * 7], np.float32))


def endless_scale(model: onnx.ModelProto) -> None:
    replace_initializer(model, "stem.data.scale", np.array(np.inf, np.float32))


def per_tensor_weights(model: onnx.ModelProto) -> None:
    replace_initializer(model, "body.weight.scale", np.array(0.1, np.float32))


def wrong_axis(model: onnx.ModelProto) -> None:
    del node_of(model, "body_weight_dq").attribute[:]  # ONNX then means axis 1, which has 8 channels too


def per_channel_data(model: onnx.ModelProto) -> None:
    replace_initializer(model, "body.data.scale", np.full(8, 0.1, np.float32))


def float_data(model: onnx.ModelProto) -> None:
    node_of(model, "body").input[0] = "s"


def quantized_bias(model: onnx.ModelProto) -> None:
    replace_initializer(model, "bias.q", np.zeros(8, np.int32))
    replace_initializer(model, "bias.scale", np.full(8, 0.1, np.float32))
    replace_initializer(model, "bias.zero", np.zeros(8, np.int32))
    inputs = ["bias.q", "bias.scale", "bias.zero"]
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", inputs, ["bias.dq"], "bias_dq", axis=0))
    node_of(model, "body").input[2] = "bias.dq"


def unread_quantization(model: onnx.ModelProto) -> None:
    inputs = ["s0", "body.data.scale", "body.data.zero"]
    model.graph.node.insert(1 + 3, helper.make_node("QuantizeLinear", inputs, ["lonely"], "lonely_q"))


def suppression(model: onnx.ModelProto) -> None:
    node_of(model, "concat").op_type = "NonMaxSuppression"


def vendor_domain(model: onnx.ModelProto) -> None:
    node_of(model, "body_q").domain = "com.microsoft"


def old_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 11


def operator_form(model: onnx.ModelProto) -> None:
    node_of(model, "body_relu").op_type = "QLinearConv"


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (asymmetric, {("symmetric", "body_q"), ("symmetric", "body_dq")}),
        (unsigned, {("int8", "body_q"), ("int8", "body_dq")}),
        (no_zero_point, {("int8", "body_q"), ("int8", "body_dq")}),
        (zero_scale, {("scale", "body_weight_dq")}),
        (endless_scale, {("scale", "stem_q"), ("scale", "stem_dq")}),
        (per_tensor_weights, {("per-channel", "body")}),
        (wrong_axis, {("per-channel", "body")}),
        (per_channel_data, {("per-tensor", "body_q"), ("per-tensor", "body_dq")}),
        (float_data, {("both-inputs", "body")}),
        (quantized_bias, {("bias", "body")}),
        (unread_quantization, {("pair", "lonely_q")}),
        (suppression, {("nms", "concat")}),
        (vendor_domain, {("form", "body_q")}),
        (old_opset, {("form", "graph")}),
        (operator_form, {("form", "body_relu")}),
    ],
)
def test_names_rule_and_node(damage: Callable[[onnx.ModelProto], None], expected: set[tuple[str, str]]) -> None:
    """Each single departure from the rules is reported as that rule, at that node, and as nothing else."""
    model = quantized_detector()
    damage(model)
    assert broken(model) == expected


def test_quantized_head_is_a_violation_unless_allowed() -> None:
    """A quantized output convolution breaks this project's rule; TensorRT's own rules allow it."""
    model = quantized_detector(("stem", "body", "class"))
    assert broken(model) == {("head", "class")}
    assert broken(model, float_head=False) == set()
    everything = quantized_detector(("stem", "body", "box", "class", "dfl"))
    assert broken(everything) == {("head", "box"), ("head", "class"), ("head", "dfl")}
    assert broken(everything, float_head=False) == set()


@pytest.mark.parametrize("tensor", ["distance", "scores"])
def test_quantized_tail_is_a_violation(tensor: str) -> None:
    """Q/DQ on either side of the tail's Concat is reported: boxes and scores must not go through 8 bits."""
    model = quantized_detector()
    inputs = ["body.data.scale", "body.data.zero"]
    concat = node_of(model, "concat")
    place = list(model.graph.node).index(concat)
    pair = [
        helper.make_node("QuantizeLinear", [tensor, *inputs], ["tail.q"], "tail_q"),
        helper.make_node("DequantizeLinear", ["tail.q", *inputs], ["tail.dq"], "tail_dq"),
    ]
    concat.input[list(concat.input).index(tensor)] = "tail.dq"
    for offset, node in enumerate(pair):
        model.graph.node.insert(place + offset, node)
    assert broken(model) == {("tail", "tail_q")}


def test_reads_files(tmp_path: Path) -> None:
    """A file on disk is checked like a graph in memory."""
    path = tmp_path / "toy.onnx"
    onnx.save(quantized_detector(), str(path))
    assert check_qdq(path) == ()


@pytest.mark.parametrize("content", [None, b"not a protobuf", b""])
def test_other_files_are_bad_input(tmp_path: Path, content: bytes | None) -> None:
    """A missing file and a file that is no ONNX are refused with its name."""
    path = tmp_path / "toy.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=r"toy\.onnx"):
        check_qdq(path)
