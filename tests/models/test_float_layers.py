"""Giving layers back to float is undoing their quantization, and leaves nothing of it behind."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import onnx
import onnxruntime
import pytest

from edgeloop.qdq import Graph, check_graph
from models.float_layers import give_back, quantized_layers
from tests.detectors import SIDE, float_detector, quantized_detector

LAYERS = ("stem", "body", "box", "class")


def run(model: onnx.ModelProto) -> np.ndarray:
    array = np.random.default_rng(1).random((1, 3, SIDE, SIDE), np.float32)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"images": array})[0]


def test_everything_given_back_is_the_original() -> None:
    """No Q/DQ node and no int8 constant stays, and the output is the float model's bit for bit."""
    model = give_back(Graph(quantized_detector(LAYERS)), Graph(float_detector()), LAYERS)
    onnx.checker.check_model(model)
    assert {node.op_type for node in model.graph.node}.isdisjoint({"QuantizeLinear", "DequantizeLinear"})
    assert {tensor.name for tensor in model.graph.initializer} == {
        tensor.name for tensor in float_detector().graph.initializer
    }
    np.testing.assert_array_equal(run(model), run(float_detector()))


@pytest.mark.parametrize("floated", [list(some) for count in (0, 1, 2) for some in combinations(LAYERS, count)])
def test_some_given_back_are_never_quantized(floated: list[str]) -> None:
    """The result computes what quantizing the other layers alone computes, and keeps the rules."""
    others = tuple(layer for layer in LAYERS if layer not in floated)
    model = give_back(Graph(quantized_detector(LAYERS)), Graph(float_detector()), floated)
    assert quantized_layers(Graph(model)) == others
    assert check_graph(Graph(model), float_head=False) == ()
    np.testing.assert_array_equal(run(model), run(quantized_detector(others)))


def test_the_quantized_graph_stays_as_it_was() -> None:
    """One quantized graph serves every choice of layers."""
    quantized = quantized_detector(LAYERS)
    before = quantized.SerializeToString()
    give_back(Graph(quantized), Graph(float_detector()), LAYERS)
    assert quantized.SerializeToString() == before
