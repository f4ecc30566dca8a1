"""An ONNX detector from anywhere as an artifact: with edgeloop's record beside it, or by what the file itself says.

A file without a record is run once on noise: its shapes say which head it has. Class names are those that Ultralytics
writes into the file, else those of the labelled set it is used with.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeloop.artifact import DEFAULT_THRESHOLD, Artifact, Head, Precision, load_artifact, sidecar_of
from edgeloop.edge.runtime import Runtime, noise, open_runtime
from edgeloop.errors import BadInput
from edgeloop.files import sha256
from edgeloop.formats.findings import printable
from edgeloop.qdq import QDQ, Graph, load_graph

PICKLES = (b"PK\x03\x04", b"\x80")  # torch.save writes a zip, before 1.6 a bare pickle
CHECKPOINTS = frozenset({".pt", ".pth", ".ckpt"})


def open_detector(path: Path, names: Sequence[str] = (), *, reduced: bool = False) -> Artifact:
    """The artifact that a file is.

    Args:
        path: an .onnx file; nothing else is opened, and nothing is unpickled.
        names: class names to take where neither a record nor the file says them, index is the class id.
        reduced: also take a file without a record that computes in INT8 or FP16.

    Raises:
        BadInput: a checkpoint, no ONNX, or a graph that is no single-output detector of one fixed square input.
    """
    refuse_checkpoint(path)
    if sidecar_of(path).is_file():
        return load_artifact(path)
    graph = load_graph(path)
    precision = _precision(graph)
    _refuse_other_graphs(path, graph)
    if precision != "fp32" and not reduced:
        raise BadInput(f"{printable(path)} computes in {precision.upper()} already; expected the float32 file.")
    runtime = open_runtime(path, "onnxruntime")
    side = _side(path, runtime)
    shape = runtime(noise(runtime)).shape[1:]
    runtime.close()
    known = _own_names(graph) or tuple(names)
    head = _head(path, shape, known)
    return Artifact(
        path=path,
        sha256=sha256(path),
        precision=precision,
        imgsz=side,
        input=runtime.input,
        names=known,
        thresholds=(DEFAULT_THRESHOLD,) * len(known),
        head=head,
    )


def refuse_checkpoint(path: Path) -> None:
    """Refuse a file that only unpickling could read, before anything reads more than its first bytes.

    Raises:
        BadInput: it is one, or there is no such file.
    """
    if not path.is_file():
        came = "is a folder" if path.is_dir() else "does not exist"
        raise BadInput(f"{printable(path)} {came}; expected an ONNX detector.")
    with path.open("rb") as handle:
        start = handle.read(4)
    if path.suffix.lower() in CHECKPOINTS or start.startswith(PICKLES):
        raise BadInput(
            f"{printable(path)} is a checkpoint, and opening one runs the code in it; expected an ONNX file. "
            f"Export it first where you trust it: yolo export model={path.name} format=onnx."
        )


def _refuse_other_graphs(path: Path, graph: Graph) -> None:
    kinds = {node.op_type for node in graph.nodes}
    suppressing = sorted(kind for kind in kinds if kind.lower().removesuffix("_trt").endswith(("nms", "suppression")))
    outputs = [value.name for value in graph.model.graph.output]
    reason = None
    if suppressing:
        reason = f"has {suppressing[0]} inside; export it without NMS, edgeloop suppresses after the model"
    elif len(outputs) != 1:
        reason = f"has {len(outputs)} outputs ({', '.join(outputs[:4])}); expected one, with boxes and scores"
    if reason is not None:
        raise BadInput(f"{printable(path)} {reason}.")


def _precision(graph: Graph) -> Precision:
    """What most of the file computes in, by its nodes and weights."""
    if {node.op_type for node in graph.nodes} & set(QDQ):
        return "int8"
    halved = any(tensor.data_type == _half_type() for tensor in graph.model.graph.initializer)
    return "fp16" if halved else "fp32"


def _half_type() -> Any:
    from onnx import TensorProto

    return TensorProto.FLOAT16


def _side(path: Path, runtime: Runtime) -> int:
    """The side of the square input in pixels."""
    _, channels, height, width = runtime.shape
    if height is None or width is None:
        raise BadInput(
            f"{printable(path)} leaves its image size open; export it for one size (Ultralytics: dynamic=False)."
        )
    if height != width or channels != 3:
        raise BadInput(
            f"{printable(path)} takes {channels} channels of {width}x{height}; expected 3 channels of a square."
        )
    return height


def _head(path: Path, shape: Sequence[int], names: Sequence[str]) -> Head:
    """Which head gives an output of this shape, without the batch axis, for so many classes.

    Raises:
        BadInput: none that edgeloop decodes.
    """
    if not names:
        raise BadInput(f"{printable(path)} names no classes and has no record; give it with a labelled set's names.")
    if len(shape) == 2 and shape[0] == 4 + len(names) and shape[1] > 6:
        return "anchor-free"
    if len(shape) == 2 and shape[1] == 6:
        return "end-to-end"
    if len(shape) == 2 and shape[1] == 5 + len(names):
        found = "an anchor-based head with objectness (YOLOv5 before its anchor-free export, YOLOv7)"
    else:
        found = f"an output of {tuple(shape)}"
    raise BadInput(
        f"{printable(path)} has {found}; expected (4 + {len(names)} classes, anchors) or (detections, 6) for the "
        f"classes {', '.join(names)}. Export the detector with Ultralytics 8 or edgeloop, for these classes."
    )


def _own_names(graph: Graph) -> tuple[str, ...]:
    """The class names that Ultralytics writes into a file, {0: 'person', 1: …}; empty where there are none."""
    stored = {entry.key: entry.value for entry in graph.model.metadata_props}.get("names", "")
    try:
        names = ast.literal_eval(stored) if stored else {}
    except (ValueError, SyntaxError):
        return ()
    listed = [names[key] for key in sorted(names)] if isinstance(names, dict) else names
    return tuple(str(name) for name in listed) if isinstance(listed, (list, tuple)) else ()
