"""Signed Q/DQ pairs as OpenVINO's own FakeQuantize.

OpenVINO 2026.4 (CPU) computes wrong numbers, and says nothing, where a Concat is followed by a Q/DQ pair in int8: its
low-precision concatenation stores negative values unsigned. A concatenation of two convolutions and one more behind a
pair shows it; the scores of a YOLOv5n moved by up to 0.77 and two thirds of its mAP were gone. The same arithmetic
written as one FakeQuantize is computed right and as fast, so pairs are rewritten before the model is compiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np

LOW, HIGH, LEVELS = -128, 127, 256


def fold_pairs(model: Any) -> int:
    """Rewrite every symmetric int8 pair on an activation of an openvino.Model in place; returns how many there were."""
    folded = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize":
            folded += sum(_fold(node, multiply) for multiply in _dequantized(node))
    if folded:
        model.validate_nodes_and_infer_types()
    return folded


def _fold(quantize: Any, multiply: Any) -> bool:
    """Let the readers of a pair read one FakeQuantize over the same range instead."""
    from openvino import opset13

    scale = multiply.input_value(1).get_node()
    if scale.get_type_name() != "Constant":
        return False
    low, high = (opset13.constant(np.asarray(bound * scale.data, np.float32)) for bound in (LOW, HIGH))
    bounds = [quantize.input_value(index) for index in (1, 2)]
    whole = opset13.fake_quantize(quantize.input_value(0), *bounds, low, high, LEVELS)
    for reader in list(multiply.output(0).get_target_inputs()):
        reader.replace_source_output(whole.output(0))
    return True


def _dequantized(quantize: Any) -> list[Any]:
    """The Multiply at the end of each FakeQuantize -> Convert int8 -> Convert float -> Subtract 0 -> Multiply."""
    found = []
    for stored in _readers(quantize, "Convert"):
        if stored.get_output_element_type(0).get_type_name() != "i8":
            continue
        for restored in _readers(stored, "Convert"):
            shifts = [node for node in _readers(restored, "Subtract") if _is_zero(node.input_value(1).get_node())]
            found += [multiply for node in (restored, *shifts) for multiply in _readers(node, "Multiply")]
    return found


def _readers(node: Any, kind: str) -> list[Any]:
    nodes = [target.get_node() for target in node.output(0).get_target_inputs()]
    return [reader for reader in nodes if reader.get_type_name() == kind]


def _is_zero(node: Any) -> bool:
    while node.get_type_name() in ("Convert", "Reshape"):
        node = node.input_value(0).get_node()
    return node.get_type_name() == "Constant" and not np.any(node.data)
