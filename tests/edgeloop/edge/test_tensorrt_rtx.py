"""TensorRT for RTX reads and builds what edgeloop writes, and more; it needs no GPU for that.

It has TensorRT's parser and its rules for explicit quantization, and its own builder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from edgeloop.errors import BadInput
from edgeloop.qdq import Graph, check_graph
from tests.detectors import float_detector, quantized_detector
from tests.edgeloop import test_qdq as damages
from tests.tensorrt_rtx import build

Damage = Callable[[onnx.ModelProto], None]


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


@pytest.mark.parametrize("detector", [float_detector, quantized_detector])
def test_detector_is_built(detector: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    assert build(saved(detector(), tmp_path))


@pytest.mark.parametrize("damage", [damages.asymmetric, damages.zero_scale, damages.quantized_bias])
def test_its_parser_refuses_what_the_rules_refuse(damage: Damage, tmp_path: Path) -> None:
    model = quantized_detector()
    damage(model)
    with pytest.raises(BadInput, match="TensorRT does not read"):
        build(saved(model, tmp_path))


@pytest.mark.parametrize(
    "damage", [damages.unsigned, damages.endless_scale, damages.float_data, damages.wrong_axis, damages.old_opset]
)
def test_it_builds_what_the_rules_refuse(damage: Damage, tmp_path: Path) -> None:
    """Numbers that are wrong, or layers that are slow: this is what the rules are asked for before TensorRT is."""
    model = quantized_detector()
    damage(model)
    assert check_graph(Graph(model))
    assert build(saved(model, tmp_path))
