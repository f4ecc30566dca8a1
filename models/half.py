"""FP16: weights and arithmetic in half precision, input, output and decode in float32, so that every runtime opens it.

The decode stays float32 because float16 holds a coordinate beyond 512 pixels only to half a pixel. So does what
leaves the range of float16 on real frames.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx import TensorProto

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.errors import BadInput, Refused
from edgeloop.files import sha256, write_bytes
from edgeloop.progress import bar
from edgeloop.qdq import Graph, name_of
from models.calibration import measure_reach, read_inputs
from models.float_layers import drop_unread
from models.judge import GLANCED, GLANCING, Judge, moved
from models.onnx_graph import serialise
from models.quantize import copy_with_names, open_float, with_outputs

LARGEST = 65504.0 / 4  # of float16's range: frames that were not looked at may reach further
TOLERANCE = 0.02  # share of the detections' confidence that may move; rounding moves thousandths


def halve(fp32: Artifact, images: Sequence[Path], out: Path) -> Artifact:
    """Write the FP16 version of a float32 artifact, with its record beside it. The same input gives the same bytes.

    Args:
        fp32: what `export_onnx` wrote.
        images: real frames that its outputs are compared on; the first `GLANCED` are used.
        out: the .onnx file to write.

    Raises:
        BadInput: the artifact is not float32 or has changed, no frames, or one that is not an image.
        Refused: its detections differ from FP32's even with the head in float.
    """
    if not images:
        raise BadInput("expected real frames to compare FP16 with FP32 on, came none; add images to the training side.")
    graph = open_float(fp32)
    frames = tuple(images[:GLANCED])
    judge = Judge(fp32, AuditFrames("none", fp32.names, ()), frames, GLANCING, out.parent)
    kept = {name_of(node) for node in graph.tail} | _beyond_range(graph, fp32, frames)
    before = judge.glance(fp32.path.read_bytes(), "fp32")
    for float_nodes in (kept, kept | {name_of(node) for node in graph.head}):
        content = to_half(graph, float_nodes)
        share = moved(before, judge.glance(content, "fp16"))
        if share <= TOLERANCE:
            return _write(fp32, content, out)
    raise Refused(
        f"the FP16 version of {fp32.path} moves {100 * share:.1f} % of the detections' confidence, at most "
        f"{100 * TOLERANCE:g} % may; ship the model in fp32 or int8."
    )


def to_half(graph: Graph, float_nodes: Collection[str]) -> bytes:
    """The ONNX bytes of the graph in float16, the named nodes, input and output in float32."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    log = logging.getLogger("onnxruntime.transformers.float16")
    level, log.level = log.level, logging.ERROR  # it tells of every weight below float16's smallest number
    try:
        model = convert_float_to_float16(
            copy_with_names(graph),
            keep_io_types=True,
            op_block_list=DEFAULT_OP_BLOCK_LIST,
            node_block_list=sorted(float_nodes),
        )
    finally:
        log.level = level
    _drop_detours(model, float_nodes)
    ordered = OnnxModel(model)
    ordered.topological_sort(is_deterministic=True)  # casts were appended at the end
    return serialise(ordered.model)


def _drop_detours(model: Any, float_nodes: Collection[str]) -> None:
    """Let float32 nodes read each other directly, in place: the converter sends what they pass through float16.

    Without this the decode's coordinates are rounded after every step, and what is beyond the range becomes infinite.
    """
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    wide = {value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    wide |= {name for node in graph.node if node.name in float_nodes for name in node.output}
    outputs = {value.name for value in graph.output}
    renamed: dict[str, str] = {}
    for node in [node for node in graph.node if _casts_to(node, TensorProto.FLOAT)]:
        before = makers.get(node.input[0])
        if before is None or not _casts_to(before, TensorProto.FLOAT16) or before.input[0] not in wide:
            continue
        if node.output[0] in outputs:
            renamed[before.input[0]] = node.output[0]
            graph.node.remove(node)
        else:
            renamed[node.output[0]] = before.input[0]
    for node in graph.node:
        node.input[:] = [_final(name, renamed) for name in node.input]
        if not _casts_to(node, TensorProto.FLOAT):
            node.output[:] = [_final(name, renamed) for name in node.output]
    drop_unread(model)
    del graph.value_info[:]  # of names that are gone


def _casts_to(node: Any, kind: int) -> bool:
    return bool(node.op_type == "Cast" and node.attribute[0].i == kind)


def _final(name: str, renamed: Mapping[str, str]) -> str:
    while name in renamed:
        name = renamed[name]
    return name


def _beyond_range(graph: Graph, fp32: Artifact, frames: Sequence[Path]) -> set[str]:
    """Names of the nodes that write or read a value that float16 might not hold."""
    tensors = _float_tensors(graph)
    inputs = read_inputs(bar(frames, "look for large values", len(frames)), fp32.imgsz, fp32.input)
    reach = measure_reach(with_outputs(graph, tensors), tensors, inputs)
    large = {name for name, one in reach.items() if one.maximum > LARGEST}
    return {name_of(node) for node in graph.nodes if large & {*node.input, *node.output}}


def _float_tensors(graph: Graph) -> list[str]:
    """What the nodes write in float32, without the graph's outputs."""
    import onnx

    inferred: Any = onnx.shape_inference.infer_shapes(graph.model).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.value_info}
    return [name for node in graph.nodes for name in node.output if kinds.get(name) == onnx.TensorProto.FLOAT]


def _write(fp32: Artifact, content: bytes, out: Path) -> Artifact:
    write_bytes(out, content)
    artifact = fp32.model_copy(update={"path": out, "sha256": sha256(out), "precision": "fp16"})
    artifact.save_sidecar()
    return artifact
