"""Quantization-aware training: an INT8 file that loses too much becomes one whose weights were trained for int8.

It begins with the file that the search found: the same convolutions are rounded in training, data by the same ranges,
weights by the rule that the quantizer uses. After it the weights are exported as ever and quantized with those ranges.
So the graph is the same, node by node, and only weights and biases differ. Biases are not corrected: training saw what
rounding does to them.

Ranges are fixed, not learned, as NVIDIA's and Ultralytics' own (`quantize=8`, on ModelOpt) are: what was calibrated is
what ships. Source: Nagel et al., "A White Paper on Neural Network Quantization", 2021, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeloop.artifact import Artifact
from edgeloop.card import QatCard
from edgeloop.errors import BadInput
from edgeloop.qdq import Graph, load_graph, name_of
from edgeloop.quantization import QuantizeReport, QuantizeRow
from models.bias import data_scales
from models.float_layers import quantized_layers
from models.onnx_graph import serialise
from models.precision_search import Trials, describe_row
from models.quantize import place_qdq

TOP = 127


def module_ranges(int8: Graph, fp32: Graph, weights: Mapping[str, npt.NDArray[Any]]) -> dict[str, float]:
    """How far the data of each INT8 convolution reaches, by the name of its torch module.

    A convolution is known by its weights, whatever the exporter called it. One that training computes in several, as
    re-parametrised blocks do, is not among the modules, and trains without rounding.

    Args:
        int8: the quantized graph.
        fp32: the graph that it was made from; node names are the same.
        weights: of the modules, as they were exported.

    Raises:
        BadInput: no convolution of the graph is among the modules.
    """
    scales, quantized = data_scales(int8, fp32), set(quantized_layers(int8))
    modules = {_print(values): name for name, values in weights.items()}
    found = {
        modules[key]: scales[node.input[0]] * TOP
        for node in fp32.nodes
        if node.op_type == "Conv" and name_of(node) in quantized
        if (key := _print(fp32.constants[node.input[1]])) in modules
    }
    if not found:
        raise BadInput("no INT8 convolution is one of the checkpoint's; expected the checkpoint that it was made from.")
    return found


def _print(weights: npt.NDArray[Any]) -> tuple[Any, ...]:
    """The same for the same weights in any order: an input that takes bytes has the colours in theirs swapped."""
    return (*weights.shape, np.sort(weights, axis=None).astype(np.float32).tobytes())


def requantize(trained: Graph, int8: Graph, fp32: Graph) -> bytes:
    """The ONNX bytes of the trained weights, quantized where and how `int8` is.

    Args:
        trained: the float32 export after training.
        int8: the quantized graph that training began with.
        fp32: the graph that that was made from.

    Raises:
        BadInput: the trained graph has other convolutions.
    """
    convolutions = [[name_of(node) for node in graph.nodes if node.op_type == "Conv"] for graph in (trained, fp32)]
    if convolutions[0] != convolutions[1]:
        raise BadInput(
            "the trained export has other convolutions than the file it began with; expected the same graph."
        )
    kept = set(convolutions[0]) - set(quantized_layers(int8))
    limits = {name: scale * TOP for name, scale in data_scales(int8, fp32).items()}
    return serialise(place_qdq(trained, limits, kept).model)


def judge_trained(
    trials: Trials, report: QuantizeReport, content: bytes, card: QatCard
) -> tuple[QuantizeRow, QuantizeReport]:
    """Judge the trained file by what the search was judged by; the report then has its row.

    It is taken when it keeps the limits, or comes nearer to them than the file of the search.
    """
    before = report.chosen
    row = trials.row(content, f"qat, {card.epochs} epochs", before.floated)
    best = row if row.kept or row.excess < before.excess else before
    found = describe_row(row, report.limits)
    reason = {
        (True, True): f"{found}; {row.float_convolutions} of {row.convolutions} convolutions are float.",
        (True, False): f"The limits were not kept, after training with INT8 neither; the nearest: {found}.",
    }.get((best is row, row.kept), f"{report.reason} Training with INT8 did not help: {found}.")
    changes = {"artifact_id": best.artifact_id, "reached": best.kept, "reason": reason, "rows": (*report.rows, row)}
    return row, report.model_copy(update=changes)


def graphs(fp32: Artifact, int8: Artifact) -> tuple[Graph, Graph]:
    """The graphs of a float32 file and the INT8 file that was made from it.

    Raises:
        BadInput: one has changed since it was written.
    """
    return load_graph(fp32.verify().path), load_graph(int8.verify().path)
