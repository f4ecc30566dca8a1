"""ONNX files that say nothing of where and when they were made: equal weights give equal bytes."""

from __future__ import annotations

from typing import Any

PRODUCER = "edgeloop"
# IR 8 came with opset 15 to 18 (ONNX 1.10 to 1.13); ONNX Runtime 1.17, OpenVINO 2024 and TensorRT 8.6 read it.
IR_VERSION = 8


def slim(content: bytes) -> bytes:
    """Fold constants and shapes, merge and drop nodes; numerically the same graph."""
    import onnx
    import onnxslim

    return serialise(onnxslim.slim(onnx.load_from_string(content)))


def serialise(model: Any) -> bytes:
    """The bytes of a ModelProto without producer, dates, paths and comments, protobuf maps in a fixed order."""
    import onnx

    model.ir_version = min(model.ir_version, IR_VERSION)
    model.producer_name, model.producer_version, model.doc_string = PRODUCER, "", ""
    del model.metadata_props[:]
    model.graph.name, model.graph.doc_string = "detector", ""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
