"""TensorRT for RTX, where it is installed, reads and builds what edgeloop writes, and more. It needs no GPU for that.

    pip install tensorrt-rtx-cu13-bindings tensorrt-rtx-cu13-libs

It has TensorRT's parser and its rules for explicit quantization, and its own builder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from edgeloop.edge.tensorrt_build import _parse, _set_batch, begin_strong
from edgeloop.errors import BadInput
from edgeloop.qdq import Graph, check_graph
from tests.detectors import float_detector, quantized_detector
from tests.edgeloop import test_qdq as damages

rtx = pytest.importorskip("tensorrt_rtx_bindings")
Damage = Callable[[onnx.ModelProto], None]


def build(model: onnx.ModelProto, folder: Path) -> bytes:
    """By the steps of `build_engine`, for a card that is not here."""
    path = folder / "model.onnx"
    onnx.save(model, path)
    logger = rtx.Logger(rtx.Logger.INTERNAL_ERROR)
    builder = rtx.Builder(logger)
    network, config = begin_strong(rtx, builder, quantized=True)
    config.num_compute_capabilities = 1
    config.set_compute_capability(rtx.ComputeCapability.SM89, 0)
    _parse(rtx.OnnxParser(network, logger), path)
    _set_batch(builder, network, config, 4)
    return bytes(builder.build_serialized_network(network, config))


@pytest.mark.parametrize("detector", [float_detector, quantized_detector])
def test_detector_is_built(detector: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    assert build(detector(), tmp_path)


@pytest.mark.parametrize("damage", [damages.asymmetric, damages.zero_scale, damages.quantized_bias])
def test_its_parser_refuses_what_the_rules_refuse(damage: Damage, tmp_path: Path) -> None:
    model = quantized_detector()
    damage(model)
    with pytest.raises(BadInput, match="TensorRT does not read"):
        build(model, tmp_path)


@pytest.mark.parametrize(
    "damage", [damages.unsigned, damages.endless_scale, damages.float_data, damages.wrong_axis, damages.old_opset]
)
def test_it_builds_what_the_rules_refuse(damage: Damage, tmp_path: Path) -> None:
    """Numbers that are wrong, or layers that are slow: this is what the rules are asked for before TensorRT is."""
    model = quantized_detector()
    damage(model)
    assert check_graph(Graph(model))
    assert build(model, tmp_path)
