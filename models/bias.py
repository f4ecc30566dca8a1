"""Bias correction: what quantizing a layer adds to the mean of its output is taken out of its bias again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeloop.qdq import Graph, name_of
from models.calibration import Means
from models.float_layers import drop_unread


def correct_biases(quantized: Graph, original: Graph, means: Mapping[str, Means]) -> None:
    """Correct the bias of every INT8 convolution, in place.

    The mean of an output channel is the sum over its weights of weight x mean of the input channel. Both change: the
    weights are rounded, the data is rounded and cut. SiLU leaves most of its values just below 0, where rounding has a
    sign. Source: Nagel et al., "A White Paper on Neural Network Quantization", 2021, section 3.3, with measured means.

    Args:
        quantized: with Q/DQ.
        original: the float32 graph; node names are the same.
        means: of the data of each INT8 convolution, by its name in `original`.
    """
    from onnx import numpy_helper

    floats = {name_of(node): node for node in original.nodes if node.op_type == "Conv"}
    for node in quantized.nodes:
        weights = _dequantized_weights(quantized, node) if node.op_type == "Conv" else None
        if weights is None:
            continue
        wanted, data = original.constants[floats[node.name].input[1]], means[floats[node.name].input[0]]
        bias = quantized.constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(wanted), np.float32)
        shift = mean_output(wanted.astype(np.float64), data.plain) - mean_output(weights, data.stored)
        del node.input[2:]
        node.input.append(f"{node.name}.corrected_bias")  # a name of its own: equal biases may have shared one tensor
        corrected = (bias + shift).astype(np.float32)
        quantized.model.graph.initializer.append(numpy_helper.from_array(corrected, node.input[2]))
    drop_unread(quantized.model)


def mean_output(weights: npt.NDArray[np.float64], means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The mean of each output channel of a convolution without bias, away from the border: (out,).

    Args:
        weights: (out, in / groups, height, width).
        means: (in,) mean of each input channel.
    """
    groups = len(means) // weights.shape[1]
    grouped = weights.sum(axis=(2, 3)).reshape(groups, -1, weights.shape[1])
    mean: npt.NDArray[np.float64] = np.einsum("goi,gi->go", grouped, means.reshape(groups, -1)).ravel()
    return mean


def data_scales(quantized: Graph, original: Graph) -> dict[str, float]:
    """The scale of the data of every INT8 convolution, by the data's name in the original graph."""
    floats = {name_of(node): node for node in original.nodes if node.op_type == "Conv"}
    scales = {}
    for node in quantized.nodes:
        if node.op_type == "Conv" and quantized.is_dequantized(node.input[1]):
            pair = quantized.producers[node.input[0]]
            scales[str(floats[node.name].input[0])] = float(quantized.constants[pair.input[1]])
    return scales


def _dequantized_weights(graph: Graph, convolution: Any) -> npt.NDArray[np.float64] | None:
    """The weights that an INT8 convolution computes with; None for a float one."""
    if not graph.is_dequantized(convolution.input[1]):
        return None
    source = graph.producers[convolution.input[1]]
    stored, scale = graph.constants[source.input[0]], graph.constants[source.input[1]]
    weights: npt.NDArray[np.float64] = stored.astype(np.float64) * scale.reshape(-1, 1, 1, 1)
    return weights
