"""A bare ONNX detector is opened by what it says itself; anything else is refused and never unpickled."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edgeloop.errors import BadInput
from edgeloop.foreign import open_detector
from tests.detectors import SIDE, float_detector, quantized_detector, save_artifact

NAMES = ("dent", "scratch")


def save(folder: Path, model: onnx.ModelProto, name: str = "own.onnx") -> Path:
    path = folder / name
    onnx.save(model, str(path))
    return path


def test_a_bare_file_takes_the_names_it_is_given(tmp_path: Path) -> None:
    """Size, input and head come from the file, the names from the labelled set."""
    found = open_detector(save(tmp_path, float_detector()), NAMES)
    assert (found.imgsz, found.input, found.head, found.precision) == (SIDE, "float32-nchw", "anchor-free", "fp32")
    assert (found.names, found.thresholds) == (NAMES, (0.25, 0.25))


def test_names_in_the_file_win(tmp_path: Path) -> None:
    """Ultralytics writes the names into the file; a set that numbers its classes otherwise does not rename them."""
    model = float_detector()
    model.metadata_props.add(key="names", value="{0: 'scratch', 1: 'dent'}")
    assert open_detector(save(tmp_path, model), NAMES).names == ("scratch", "dent")


def test_a_record_beside_the_file_wins(tmp_path: Path) -> None:
    """edgeloop's own artifact is opened by its record, thresholds and all."""
    artifact = save_artifact(tmp_path)
    assert open_detector(artifact.path, ("other",)) == artifact


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["best.pt", "best.onnx"])
def test_a_checkpoint_is_refused_before_it_is_unpickled(tmp_path: Path, name: str) -> None:
    """Whatever it is called, a pickle is refused with what to do, and its code does not run."""
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(BadInput, match="Export it first"):
        open_detector(path, NAMES)
    assert not (tmp_path / "sprung").exists()


def with_suppression(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("NonMaxSuppression", ["box", "class"], ["selected"], "nms"))


def with_two_outputs(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2, None]))


def with_open_size(model: onnx.ModelProto) -> None:
    for side in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[side].dim_param = "side"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_suppression, "NonMaxSuppression inside"),
        (with_two_outputs, "has 2 outputs"),
        (with_open_size, "leaves its image size open"),
    ],
)
def test_other_graphs_are_refused(tmp_path: Path, change: Callable[[onnx.ModelProto], None], words: str) -> None:
    """Suppression inside, several outputs and an open size are named in one sentence."""
    model = float_detector()
    change(model)
    with pytest.raises(BadInput, match=words):
        open_detector(save(tmp_path, model), NAMES)


@pytest.mark.parametrize(
    ("names", "words"),
    [((), "names no classes"), (("dent",), "has an output of"), (("a", "b", "c"), "has an output of")],
)
def test_other_classes_are_refused(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    """A file for another number of classes than the set's is refused, one without any too."""
    with pytest.raises(BadInput, match=words):
        open_detector(save(tmp_path, float_detector()), names)


def test_a_quantized_file_is_refused(tmp_path: Path) -> None:
    """INT8 is made from float32."""
    with pytest.raises(BadInput, match="computes in INT8 already"):
        open_detector(save(tmp_path, quantized_detector()), NAMES)


def test_what_is_no_onnx_is_refused(tmp_path: Path) -> None:
    """A text file and a missing file."""
    (tmp_path / "notes.onnx").write_text("hello")
    with pytest.raises(BadInput, match="not an ONNX file"):
        open_detector(tmp_path / "notes.onnx", NAMES)
    with pytest.raises(BadInput, match="does not exist"):
        open_detector(tmp_path / "none.onnx", NAMES)
