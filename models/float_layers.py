"""Layers of a quantized graph given back to float: the same bytes as if they had never been quantized, in no time."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from edgeloop.qdq import Graph, name_of


def quantized_layers(graph: Graph) -> tuple[str, ...]:
    """Names of the convolutions that compute in INT8, in the graph's order."""
    convolutions = (node for node in graph.nodes if node.op_type == "Conv")
    return tuple(name_of(node) for node in convolutions if graph.is_dequantized(node.input[1]))


def give_back(quantized: Graph, original: Graph, layers: Collection[str]) -> Any:
    """A copy of the quantized model in which the named convolutions have the original's inputs: data, weights, bias.

    Args:
        quantized: what `models.quantize.insert_qdq` made of `original`; node names are the same.
        original: the float32 graph.
        layers: names of convolutions.
    """
    import onnx

    floats = {name_of(node): list(node.input) for node in original.nodes if node.op_type == "Conv"}
    model = onnx.ModelProto()
    model.CopyFrom(quantized.model)
    for node in model.graph.node:
        if node.op_type == "Conv" and name_of(node) in layers:
            node.input[:] = floats[name_of(node)]
    _restore(model, original)
    drop_unread(model)
    return model


def drop_unread(model: Any) -> None:
    """Remove Q/DQ nodes and constants that nothing reads, in place."""
    kept_outputs = {value.name for value in model.graph.output}
    while True:
        read = kept_outputs | {name for node in model.graph.node for name in node.input}
        nodes = [node for node in model.graph.node if any(name in read for name in node.output)]
        if len(nodes) == len(model.graph.node):
            break
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    constants = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)


def _restore(model: Any, original: Graph) -> None:
    """Bring back the original's constants that are read again."""
    known = {tensor.name for tensor in model.graph.initializer}
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(tensor for tensor in original.model.graph.initializer if tensor.name in read - known)
