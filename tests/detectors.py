"""Tiny ONNX detectors with the parts of a real one: two convolutions, a head, a decode with DFL, one output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeloop.artifact import Artifact
from edgeloop.files import sha256

SIDE = 32
CELLS = (SIDE // 2) ** 2  # one stride-2 level
CLASSES = 2
LEVELS = 4  # of the box distances' distribution


def float_detector(seed: int = 0) -> onnx.ModelProto:
    """images (1, 3, 32, 32) -> stem, body -> box and class head -> DFL, sigmoid -> Concat -> output0 (1, 6, 256)."""
    random = np.random.default_rng(seed)
    weights = {
        "stem.weight": random.normal(0, 0.3, (8, 3, 3, 3)),
        "stem.bias": random.normal(0, 0.1, 8),
        "body.weight": random.normal(0, 0.2, (8, 8, 3, 3)),
        "body.bias": random.normal(0, 0.1, 8),
        "box.weight": random.normal(0, 0.3, (4 * LEVELS, 8, 1, 1)),
        "box.bias": random.normal(0, 0.1, 4 * LEVELS),
        "class.weight": random.normal(0, 0.3, (CLASSES, 8, 1, 1)),
        "class.bias": random.normal(0, 0.1, CLASSES),
        "dfl.weight": np.arange(LEVELS).reshape(1, LEVELS, 1, 1),
    }
    shapes = {
        "box_shape": [1, 4, LEVELS, CELLS],
        "distance_shape": [1, 4, CELLS],
        "class_shape": [1, CLASSES, CELLS],
    }
    nodes = [
        helper.make_node(
            "Conv", ["images", "stem.weight", "stem.bias"], ["s0"], "stem", strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Sigmoid", ["s0"], ["s1"], "stem_sigmoid"),
        helper.make_node("Mul", ["s0", "s1"], ["s"], "stem_silu"),
        helper.make_node("Conv", ["s", "body.weight", "body.bias"], ["b0"], "body", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["b0"], ["b"], "body_relu"),
        helper.make_node("Conv", ["b", "box.weight", "box.bias"], ["box"], "box"),
        helper.make_node("Conv", ["b", "class.weight", "class.bias"], ["class"], "class"),
        helper.make_node("Reshape", ["box", "box_shape"], ["box4"], "box_reshape"),
        helper.make_node("Transpose", ["box4"], ["box_t"], "box_transpose", perm=[0, 2, 1, 3]),
        helper.make_node("Softmax", ["box_t"], ["box_p"], "box_softmax", axis=1),
        helper.make_node("Conv", ["box_p", "dfl.weight"], ["distance4"], "dfl"),
        helper.make_node("Reshape", ["distance4", "distance_shape"], ["distance"], "distance_reshape"),
        helper.make_node("Reshape", ["class", "class_shape"], ["logits"], "class_reshape"),
        helper.make_node("Sigmoid", ["logits"], ["scores"], "scores"),
        helper.make_node("Concat", ["distance", "scores"], ["output0"], "concat", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4 + CLASSES, CELLS])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
        + [numpy_helper.from_array(np.array(shape, np.int64), name) for name, shape in shapes.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def quantized_detector(convolutions: tuple[str, ...] = ("stem", "body")) -> onnx.ModelProto:
    """The same with Q/DQ by the book around the data and the weights of the named convolutions."""
    model = float_detector()
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.name in convolutions:
            nodes += _pair(model, node.name, node.input[0])
            nodes.append(_weights(model, node.name, values[node.input[1]]))
            node.input[0], node.input[1] = f"{node.name}.data.dq", f"{node.name}.weight.dq"
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


def _pair(model: onnx.ModelProto, name: str, source: str) -> list[onnx.NodeProto]:
    _add(model, f"{name}.data.scale", np.array(0.02, np.float32))
    _add(model, f"{name}.data.zero", np.array(0, np.int8))
    parameters = [f"{name}.data.scale", f"{name}.data.zero"]
    return [
        helper.make_node("QuantizeLinear", [source, *parameters], [f"{name}.data.q"], f"{name}_q"),
        helper.make_node("DequantizeLinear", [f"{name}.data.q", *parameters], [f"{name}.data.dq"], f"{name}_dq"),
    ]


def _weights(model: onnx.ModelProto, name: str, weights: np.ndarray) -> onnx.NodeProto:
    scale = (np.abs(weights).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    _add(model, f"{name}.weight.q", np.round(weights / scale[:, None, None, None]).astype(np.int8))
    _add(model, f"{name}.weight.scale", scale)
    _add(model, f"{name}.weight.zero", np.zeros(len(scale), np.int8))
    parameters = [f"{name}.weight.scale", f"{name}.weight.zero"]
    return helper.make_node(
        "DequantizeLinear", [f"{name}.weight.q", *parameters], [f"{name}.weight.dq"], f"{name}_weight_dq", axis=0
    )


def _add(model: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    model.graph.initializer.append(numpy_helper.from_array(value, name))


def replace_initializer(model: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    """Give an initializer another value, of any type and shape."""
    kept = [tensor for tensor in model.graph.initializer if tensor.name != name]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, numpy_helper.from_array(value, name)])


def save_artifact(folder: Path, model: onnx.ModelProto | None = None) -> Artifact:
    """Write a tiny float detector with its record."""
    path = folder / "toy.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model or float_detector(), str(path))
    artifact = Artifact(
        path=path, sha256=sha256(path), precision="fp32", imgsz=SIDE, names=("dent", "scratch"), thresholds=(0.25, 0.25)
    )
    artifact.save_sidecar()
    return artifact
