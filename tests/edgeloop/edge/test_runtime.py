"""Runtimes on a real file: equal answers, a remembered choice, clear refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeloop.artifact import Artifact
from edgeloop.edge import runtime as module
from edgeloop.edge.runtime import RUNTIMES, RuntimeName, installed, measure, open_runtime
from edgeloop.errors import BadInput

Make = Callable[..., Artifact]


@pytest.mark.parametrize("name", RUNTIMES)
def test_runtime_gives_the_known_answer(colour_artifact: Make, name: RuntimeName) -> None:
    """On a red image every cell answers red with 1 and the other colours with 0."""
    loaded = open_runtime(colour_artifact(64).path, name)
    batch = np.zeros((1, 3, 64, 64), np.float32)
    batch[:, 0] = 1
    output = loaded(batch)
    assert loaded.name == name
    assert loaded.shape == (1, 3, 64, 64)
    assert output.shape == (1, 7, 64)
    assert output.dtype == np.float32
    assert (output[0, 4] == 1).all()
    assert (output[0, 5:] == 0).all()


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("declared", ["fixed", "open"])
def test_runtimes_agree(colour_artifact: Make, batch: int, declared: str) -> None:
    """The same file gives the same numbers in every runtime, with a fixed and with an open batch."""
    path = colour_artifact(64, batch if declared == "fixed" else "N").path
    images = np.random.default_rng(0).random((batch, 3, 64, 64), np.float32)
    outputs = [np.array(open_runtime(path, name)(images)) for name in RUNTIMES]
    assert outputs[0].shape == (batch, 7, 64)
    assert np.allclose(outputs[0], outputs[1], atol=1e-5)


@pytest.mark.parametrize("name", RUNTIMES)
def test_other_size_than_the_file_takes_is_refused(colour_artifact: Make, name: RuntimeName) -> None:
    """A batch or size that was not exported is said, not a runtime's internal error."""
    loaded = open_runtime(colour_artifact(64).path, name)
    with pytest.raises(BadInput, match="the file takes"):
        loaded(np.zeros((2, 3, 64, 64), np.float32))


def test_auto_takes_the_fastest_and_remembers(colour_artifact: Make, tmp_path: Path) -> None:
    """The choice is the smallest median, it is written down, and the second time nothing is measured."""
    path = colour_artifact(64).path
    first = open_runtime(path, cache=tmp_path)
    (remembered,) = tmp_path.glob("runtime-*.json")
    document = json.loads(remembered.read_text())
    assert document["runtime"] == first.name
    assert document["median_ms"][first.name] == min(document["median_ms"].values())
    document["runtime"] = other = next(name for name in RUNTIMES if name != first.name)
    remembered.write_text(json.dumps(document))
    assert open_runtime(path, cache=tmp_path).name == other


@pytest.mark.parametrize("change", ["threads", "file"])
def test_choice_belongs_to_file_and_threads(colour_artifact: Make, tmp_path: Path, change: str) -> None:
    """Another file or another number of threads is measured anew."""
    open_runtime(colour_artifact(64).path, cache=tmp_path)
    open_runtime(
        colour_artifact(32 if change == "file" else 64).path, threads=2 if change == "threads" else 1, cache=tmp_path
    )
    assert len(list(tmp_path.glob("runtime-*.json"))) == 2


def test_damaged_memory_is_measured_again(colour_artifact: Make, tmp_path: Path) -> None:
    """A cache file that was cut short costs a measurement, not the start of the device."""
    path = colour_artifact(64).path
    open_runtime(path, cache=tmp_path)
    (remembered,) = tmp_path.glob("runtime-*.json")
    remembered.write_text("{")
    open_runtime(path, cache=tmp_path)
    assert json.loads(remembered.read_text())["threads"] == 1


def test_measure_runs_every_runtime_equally_often(colour_artifact: Make) -> None:
    """Turns alternate, so that a slow second of the machine meets all runtimes."""
    calls: list[str] = []

    class Counted:
        def __init__(self, name: RuntimeName) -> None:
            self.name, self.shape = name, (1, 3, 8, 8)

        def __call__(self, batch: np.ndarray) -> np.ndarray:
            calls.append(self.name)
            return batch

        def close(self) -> None: ...

    medians = measure({name: Counted(name) for name in RUNTIMES}, rounds=3)
    assert set(medians) == set(RUNTIMES)
    assert calls == list(RUNTIMES) * (len(calls) // 2)


def test_missing_runtime_says_which_extra(colour_artifact: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence holds the command that installs it."""
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"pip install 'edgeloop\[openvino\]'"):
        open_runtime(colour_artifact(64).path, "openvino")
    with pytest.raises(BadInput, match="no runtime is installed"):
        installed()


@pytest.mark.parametrize("name", RUNTIMES)
def test_file_that_is_no_model_is_refused(tmp_path: Path, name: RuntimeName) -> None:
    """Both runtimes' own errors become one sentence."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"hello")
    with pytest.raises(BadInput, match="does not load"):
        open_runtime(broken, name)


@pytest.mark.parametrize("name", RUNTIMES)
def test_half_precision_input_is_refused(colour_artifact: Make, tmp_path: Path, name: RuntimeName) -> None:
    """The protocol is float32 in and out; a file that wants something else is named at once."""
    model = onnx.load(colour_artifact(64).path)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    cast = onnx.helper.make_node("Cast", ["images"], ["wide"], to=onnx.TensorProto.FLOAT)
    model.graph.node[0].input[0] = "wide"
    model.graph.node.insert(0, cast)
    onnx.save(model, tmp_path / "half.onnx")
    with pytest.raises(BadInput, match="expected float32 input"):
        open_runtime(tmp_path / "half.onnx", name)


def test_missing_file_and_unknown_runtime(colour_artifact: Make, tmp_path: Path) -> None:
    """Both are bad input."""
    with pytest.raises(BadInput, match="does not exist"):
        open_runtime(tmp_path / "none.onnx")
    with pytest.raises(BadInput, match="came 'caffe'"):
        open_runtime(colour_artifact(64).path, "caffe")  # type: ignore[arg-type]
