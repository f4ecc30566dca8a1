"""A real ONNX detector of two kilobytes whose answers are known, so that nothing has to be mocked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeloop.artifact import Artifact
from edgeloop.files import sha256

CELL = 8  # pixels
NAMES = ("red", "green", "blue")


def write_colour_detector(path: Path, side: int, batch: int | str = 1) -> Path:
    """An anchor-free detector of colours.

    Each 8x8 cell of the square answers with one 16x16 box around its centre and the mean of R, G and B as the scores of
    the three classes. Output (batch, 4 + 3, cells).
    """
    cells = side // CELL
    centres = (np.arange(cells, dtype=np.float32) + 0.5) * CELL
    x, y = np.meshgrid(centres, centres)
    size = np.full_like(x, 2 * CELL)
    boxes = np.stack([x, y, size, size]).reshape(1, 4, -1)
    nodes = [
        helper.make_node("AveragePool", ["images"], ["means"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("Reshape", ["means", "flat"], ["scores"]),
        helper.make_node("Slice", ["scores", "zero", "one", "axis"], ["first"]),  # (batch, 1, cells)
        helper.make_node("Mul", ["first", "nothing"], ["zeros"]),
        helper.make_node("Add", ["zeros", "boxes"], ["placed"]),  # broadcasts the boxes over the batch
        helper.make_node("Concat", ["placed", "scores"], ["output0"], axis=1),
    ]
    constants = {
        "flat": np.array([0, 3, cells * cells], np.int64),
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "axis": np.array([1], np.int64),
        "nothing": np.zeros((1,), np.float32),
        "boxes": boxes,
    }
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, side, side])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [batch, 7, cells * cells])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def colour_artifact(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Artifact]:
    """Makes the colour detector with its record beside it: `colour_artifact(side=64, batch=1)`."""

    def make(side: int = 64, batch: int | str = 1) -> Artifact:
        path = tmp_path_factory.mktemp("artifact") / "colours.onnx"
        write_colour_detector(path, side, batch)
        artifact = Artifact(
            path=path, sha256=sha256(path), precision="fp32", imgsz=side, names=NAMES, thresholds=(0.5, 0.5, 0.5)
        )
        artifact.save_sidecar()
        return artifact

    return make
