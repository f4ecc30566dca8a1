"""An export option: the detector takes the camera's bytes, and colour order, scale and layout are in its graph.

What then crosses to the model is a quarter of the float input, and on a GPU the conversion runs there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.onnx_graph import serialise


def take_bytes(content: bytes) -> bytes:
    """The ONNX bytes of a float detector, input (N, 3, H, W) RGB in 0..1, as one that takes (N, H, W, 3) uint8 BGR.

    Cast comes first because TensorRT knows uint8 as the type of an input and of nothing else. The colour order goes
    into the first convolution's weights where it alone reads the input, and costs nothing there.
    """
    import onnx
    from onnx import TensorProto, numpy_helper

    model = onnx.load_from_string(content)
    graph, feed = model.graph, model.graph.input[0]
    batch, channels, height, width = feed.type.tensor_type.shape.dim
    planes = f"{feed.name}.planes"
    swapped = _swap_weights(graph, feed.name)
    for node in graph.node:
        node.input[:] = [planes if name == feed.name else name for name in node.input]
    nodes = _front(feed.name, planes, swapped)
    constants = {f"{feed.name}.unit": np.array(1 / 255, np.float32)}
    if not swapped:
        constants[f"{feed.name}.order"] = np.array([2, 1, 0], np.int64)
    for position, node in enumerate(nodes):
        graph.node.insert(position, node)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    feed.type.tensor_type.elem_type = TensorProto.UINT8
    sides = [onnx.TensorShapeProto.Dimension() for _ in range(4)]
    for side, source in zip(sides, (batch, height, width, channels), strict=True):
        side.CopyFrom(source)
    del feed.type.tensor_type.shape.dim[:]
    feed.type.tensor_type.shape.dim.extend(sides)
    return serialise(model)


def _front(name: str, planes: str, swapped: bool) -> list[Any]:
    """The nodes from the bytes to what the detector read before; the colour order among them unless it is swapped."""
    from onnx import TensorProto, helper

    wide, scaled, last = (f"{name}.{what}" for what in ("float", "scaled", "bgr"))
    nodes = [
        helper.make_node("Cast", [name], [wide], f"{name}.cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", [wide, f"{name}.unit"], [scaled], f"{name}.mul"),
        helper.make_node("Transpose", [scaled], [planes if swapped else last], f"{name}.transpose", perm=[0, 3, 1, 2]),
    ]
    if not swapped:
        nodes.append(helper.make_node("Gather", [last, f"{name}.order"], [planes], f"{name}.gather", axis=1))
    return nodes


def _swap_weights(graph: Any, name: str) -> bool:
    """Turn RGB into BGR in the weights of the one convolution that reads `name`; False where there is no such one."""
    from onnx import numpy_helper

    readers = [node for node in graph.node if name in node.input]
    stored = {tensor.name: tensor for tensor in graph.initializer}
    if [node.op_type for node in readers] != ["Conv"] or readers[0].input[1] not in stored:
        return False
    weights = stored[readers[0].input[1]]
    shared = sum(weights.name in node.input for node in graph.node) > 1
    values = numpy_helper.to_array(weights)
    if shared or values.shape[1] != 3:  # a grouped convolution has fewer
        return False
    weights.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values[:, ::-1]), weights.name))
    return True
