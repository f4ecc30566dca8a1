"""NNCF's post-training quantization as one more calibration: the same convolutions, rules and names as ours.

NNCF (Intel's Neural Network Compression Framework) sets ranges by its own statistics and corrects biases layer by layer
on the quantized network ("fast bias correction"), where `models.bias` corrects each layer from the float network's
data. What it gives is brought into our form: signed data, and float layers that can be had back.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeloop.qdq import Graph, float_tail, name_of
from models.float_layers import drop_unread

UNSIGNED_TO_SIGNED = np.float32(255 / 127)  # of a scale: the largest number that is stored


def quantize_with_nncf(graph: Graph, named: Any, inputs: Iterable[npt.NDArray[Any]], float_head: bool) -> Any:
    """A ModelProto with Q/DQ around the convolutions of `graph`, by NNCF.

    Args:
        graph: a float32 detector with one input.
        named: its model, in which every node has a name.
        inputs: calibration data, each as the model takes it.
        float_head: leave the head's output convolutions and the DFL in float.
    """
    with _quiet():
        import nncf

        data = [{graph.model.graph.input[0].name: array.copy()} for array in inputs]
        kept = {name_of(node) for node in [*(float_tail(graph) if float_head else ()), *graph.tail]}
        made = nncf.quantize(
            named,
            nncf.Dataset(data),
            preset=nncf.QuantizationPreset.PERFORMANCE,  # symmetric
            subset_size=len(data),
            ignored_scope=nncf.IgnoredScope(
                names=sorted(kept), types=sorted({node.op_type for node in graph.nodes} - {"Conv"}), validate=False
            ),
        )
    _sign(made)
    _name_biases(made, graph)
    del made.graph.value_info[:]  # they say uint8
    drop_unread(made)
    return made


def _sign(model: Any) -> None:
    """Store data that is never negative as int8 too, as TensorRT asks: with half as many steps."""
    from onnx import numpy_helper

    graph = Graph(model)
    for node in graph.nodes:
        zero = graph.constants.get(node.input[2]) if node.op_type in ("QuantizeLinear", "DequantizeLinear") else None
        if zero is None or zero.dtype != np.uint8:
            continue
        scale = (graph.constants[node.input[1]] * UNSIGNED_TO_SIGNED).astype(np.float32)
        for at, value in ((1, scale), (2, zero.astype(np.int8))):
            name = f"{node.input[at]}.{name_of(node)}.signed"
            model.graph.initializer.append(numpy_helper.from_array(value, name))
            node.input[at] = name


def _name_biases(model: Any, original: Graph) -> None:
    """Give corrected biases names of their own, so that a layer that is given back to float finds the original's."""
    from onnx import numpy_helper

    graph = Graph(model)
    for node in graph.nodes:
        if node.op_type != "Conv" or len(node.input) < 3 or not graph.is_dequantized(node.input[1]):
            continue
        name, bias = f"{node.name}.corrected_bias", graph.constants[node.input[2]]
        model.graph.initializer.append(numpy_helper.from_array(bias, name))
        node.input[2] = name
    kept = {tensor.name: tensor for tensor in original.model.graph.initializer}
    for tensor in model.graph.initializer:
        if tensor.name in kept:
            tensor.CopyFrom(kept[tensor.name])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without NNCF's log, its progress bars, which go to stdout, and its reports home: under NNCF_CI it sends none."""
    os.environ.setdefault("NNCF_CI", "1")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(before)
