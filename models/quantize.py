"""INT8 as symmetric QDQ ONNX: one file that OpenVINO computes in INT8 and that TensorRT builds without calibrating.

Only convolutions are quantized, their weights per output channel. The head's output convolutions and the DFL stay
float, found by their place in the graph; `benchmarks/int8_recipes.py` measures what that is worth.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeloop.artifact import Artifact, InputKind
from edgeloop.card import QuantizeCard
from edgeloop.errors import BadInput, Refused
from edgeloop.files import atomic_file, sha256
from edgeloop.held_out import HeldOut
from edgeloop.progress import bar
from edgeloop.qdq import Graph, check_qdq, float_tail, load_graph, name_of
from models.bias import correct_biases, data_scales
from models.calibration import Means, Reach, measure_means, measure_reach, read_inputs
from models.nncf_door import quantize_with_nncf
from models.onnx_graph import serialise

MINIMUM_FRAMES = 8
CORRECTED_ON = 48  # frames that biases are corrected on: a mean over many pixels of few frames is sure enough


@dataclass(frozen=True)
class Calibration:
    """What was measured on the calibration frames.

    Attributes:
        reach: of the data of each convolution, by tensor name.
        images: the frames.
        side: of the square input, pixels.
        kind: what the input is.
    """

    reach: Mapping[str, Reach]
    images: tuple[Path, ...]
    side: int
    kind: InputKind


def quantize(fp32: Artifact, images: Sequence[Path], card: QuantizeCard, out: Path) -> Artifact:
    """Write the INT8 version of a float32 artifact, with its record beside it. The same input gives the same bytes.

    Args:
        fp32: what `export_onnx` wrote.
        images: calibration frames, from the training side only; the first `card.frames` are used.
        card: calibration method and what stays float.
        out: the .onnx file to write.

    Raises:
        BadInput: the artifact is not float32 or has changed, too few frames, or a file that is not an image.
        Refused: the result breaks a rule for quantized graphs (a graph from elsewhere that this recipe does not fit).
    """
    graph = open_float(fp32)
    calibration = calibrate(graph, images[: card.frames], fp32.imgsz, fp32.input)
    return write_int8(fp32, insert_qdq(graph, calibration, card), card, out)


def open_float(fp32: Artifact) -> Graph:
    """The graph of a float32 artifact.

    Raises:
        BadInput: the artifact is not float32 or has changed.
    """
    if fp32.precision != "fp32":
        raise BadInput(f"{fp32.path} is {fp32.precision}; INT8 and FP16 are made from the fp32 artifact.")
    return load_graph(fp32.verify().path)


def write_int8(fp32: Artifact, content: bytes, card: QuantizeCard, out: Path) -> Artifact:
    """Write the bytes of an INT8 version of `fp32`, with its record beside them.

    Raises:
        Refused: they break a rule for quantized graphs.
    """
    with atomic_file(out) as temporary:
        temporary.write_bytes(content)
        refuse_violations(temporary, card)
    artifact = fp32.model_copy(update={"path": out, "sha256": sha256(out), "precision": "int8"})
    artifact.save_sidecar()
    return artifact


def calibrate(graph: Graph, images: Sequence[Path], side: int, kind: InputKind = "float32-nchw") -> Calibration:
    """How far the data of every convolution reaches on the frames, through the device's own preprocessing.

    Args:
        graph: a float32 detector with one input, which takes one image.
        images: the frames.
        side: of the square input, pixels.
        kind: what the input is.

    Raises:
        BadInput: too few frames, one that is not an image, or one of the audit side of the data set it lies in.
    """
    if len(images) < MINIMUM_FRAMES:
        raise BadInput(
            f"{len(images)} calibration frames; expected at least {MINIMUM_FRAMES} (300 or more are better). "
            f"Add images to the training side."
        )
    HeldOut().refuse(images, "calibrated on")
    tensors = sorted({node.input[0] for node in graph.nodes if node.op_type == "Conv"})
    inputs = read_inputs(bar(images, "calibrate", len(images)), side, kind)
    return Calibration(measure_reach(with_outputs(graph, tensors), tensors, inputs), tuple(images), side, kind)


def insert_qdq(graph: Graph, calibration: Calibration, card: QuantizeCard) -> bytes:
    """The ONNX bytes of the graph with Q/DQ around its convolutions, by the card's calibration method."""
    if card.calibration == "nncf":
        inputs = read_inputs(calibration.images, calibration.side, calibration.kind)
        return serialise(quantize_with_nncf(graph, copy_with_names(graph), inputs, card.float_head))
    kept = [name_of(node) for node in float_tail(graph)] if card.float_head else []
    limits = {name: histogram.threshold(card) for name, histogram in calibration.reach.items()}
    quantized = place_qdq(graph, limits, kept)
    correct_biases(quantized, graph, _means(quantized, graph, calibration))
    return serialise(quantized.model)


def place_qdq(graph: Graph, limits: Mapping[str, float], kept: Collection[str]) -> Graph:
    """A copy of the graph with Q/DQ around its convolutions.

    Data and weights are quantized, outputs are not: what follows a convolution (its activation) reads full precision,
    as NVIDIA advises, and runtimes fuse it.

    Args:
        graph: a float32 detector.
        limits: the magnitude that becomes int8's 127, by the name of a convolution's data.
        kept: convolutions that stay float, by name.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

    ranges = {name: _range(limit) for name, limit in limits.items()}
    with tempfile.TemporaryDirectory(prefix="edgeloop-int8-") as folder, _root_logger_quiet():
        cache = Path(folder) / "ranges.json"
        save_tensors_data(TensorsData(CalibrationMethod.MinMax, ranges), cache)
        quantize_static(
            copy_with_names(graph),
            Path(folder) / "int8.onnx",
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(kept),
            calibration_cache_path=cache,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": ["Conv"],
            },
        )
        return load_graph(Path(folder) / "int8.onnx")


def _means(quantized: Graph, graph: Graph, calibration: Calibration) -> dict[str, Means]:
    """Of the data of the quantized convolutions on some of the calibration frames, before and after int8."""
    scales = data_scales(quantized, graph)
    inputs = read_inputs(calibration.images[:CORRECTED_ON], calibration.side, calibration.kind)
    return measure_means(with_outputs(graph, sorted(scales)), scales, inputs)


def refuse_violations(path: Path, card: QuantizeCard) -> None:
    """Raise when the file breaks a rule for quantized graphs.

    Raises:
        Refused: with the first violation and their number.
    """
    found = check_qdq(path, float_head=card.float_head)
    if found:
        first = found[0]
        raise Refused(
            f"the quantized graph breaks {len(found)} rules, first {first.rule} at {first.node}: {first.message}. "
            f"Export the model with edgeloop, or ship it in fp32."
        )


def _range(threshold: float) -> tuple[Any, Any]:
    return np.array(-threshold, np.float32), np.array(threshold, np.float32)


def copy_with_names(graph: Graph) -> Any:
    """A copy of the model in which every node has a name: ONNX Runtime's quantizer goes by names."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    for node in model.graph.node:
        node.name = name_of(node)
    return model


def with_outputs(graph: Graph, tensors: Sequence[str]) -> bytes:
    """The ONNX bytes of the graph with `tensors` among its outputs."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    known = {value.name for value in [*model.graph.input, *model.graph.output]}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tensors if name not in known
    )
    content: bytes = model.SerializeToString()
    return content


@contextmanager
def _root_logger_quiet() -> Iterator[None]:
    """ONNX Runtime's quantizer advises preprocessing, which the export has already done, on the root logger."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
