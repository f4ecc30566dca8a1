"""Runtimes on a real file: equal answers, a remembered choice, clear refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import pytest

from edgeloop.artifact import Artifact
from edgeloop.edge import runtime as module
from edgeloop.edge.onnx_runtime import PROVIDERS, tensorrt_options
from edgeloop.edge.runtime import CPU_RUNTIMES, RuntimeName, Settings, installed, open_runtime
from edgeloop.errors import BadInput

Make = Callable[..., Artifact]


@pytest.mark.parametrize("name", CPU_RUNTIMES)
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
    outputs = [np.array(open_runtime(path, name)(images)) for name in CPU_RUNTIMES]
    assert outputs[0].shape == (batch, 7, 64)
    assert np.allclose(outputs[0], outputs[1], atol=1e-5)


@pytest.mark.parametrize("name", CPU_RUNTIMES)
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
    document["runtime"] = other = next(name for name in CPU_RUNTIMES if name != first.name)
    remembered.write_text(json.dumps(document))
    assert open_runtime(path, cache=tmp_path).name == other


@pytest.mark.parametrize("change", [{"side": 32}, {"threads": 2}, {"batch": 4}])
def test_choice_belongs_to_file_threads_and_batch(
    colour_artifact: Make, tmp_path: Path, change: dict[str, int]
) -> None:
    """Another file, another number of threads or of images in a call is measured anew."""
    open_runtime(colour_artifact(64, "N").path, cache=tmp_path)
    path = colour_artifact(change.pop("side", 64), "N").path
    open_runtime(path, threads=change.get("threads", 1), batch=change.get("batch", 1), cache=tmp_path)
    assert len(list(tmp_path.glob("runtime-*.json"))) == 2


def test_damaged_memory_is_measured_again(colour_artifact: Make, tmp_path: Path) -> None:
    """A cache file that was cut short costs a measurement, not the start of the device."""
    path = colour_artifact(64).path
    open_runtime(path, cache=tmp_path)
    (remembered,) = tmp_path.glob("runtime-*.json")
    remembered.write_text("{")
    open_runtime(path, cache=tmp_path)
    assert json.loads(remembered.read_text())["threads"] == 1


@pytest.mark.parametrize("name", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_provider_that_is_not_built_in_is_refused(colour_artifact: Make, name: RuntimeName) -> None:
    """ONNX Runtime itself would run on the CPU in silence; here the sentence says what to install."""
    with pytest.raises(BadInput, match="onnxruntime-gpu"):
        open_runtime(colour_artifact(64).path, name)
    assert installed([name, "onnxruntime"]) == ("onnxruntime",)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_provider_that_does_not_start_is_refused(colour_artifact: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU build on a machine without a GPU: the session that came back is the CPU's, and is not taken for more."""
    monkeypatch.setattr("edgeloop.edge.onnx_runtime.built_in", lambda: tuple(PROVIDERS.values()))
    with pytest.raises(BadInput, match="fell back to CPUExecutionProvider"):
        open_runtime(colour_artifact(64).path, "onnxruntime-cuda")


def test_provider_that_fails_in_the_middle_of_a_run_is_an_error(colour_artifact: Make) -> None:
    """ONNX Runtime would go on with another provider, from this frame on and in silence."""
    from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

    loaded = open_runtime(colour_artifact(64).path, "onnxruntime")
    noise = np.zeros((1, 3, 64, 64), np.float32)
    loaded._session._sess = mock.Mock(wraps=loaded._session._sess)
    loaded._session._sess.run.side_effect = EPFail("out of memory")
    with pytest.raises(EPFail, match="out of memory"):
        loaded(noise)


def test_provider_that_raises_is_told_as_itself(
    colour_artifact: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As TensorRT's does without TensorRT: no advice to export the file again, and stdout stays the command's own."""
    import onnxruntime

    def fail(*_: object) -> None:
        raise RuntimeError("Please install TensorRT libraries")

    monkeypatch.setattr("edgeloop.edge.onnx_runtime.built_in", lambda: tuple(PROVIDERS.values()))
    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", fail)
    with pytest.raises(
        BadInput, match=r"TensorrtExecutionProvider did not start \(Please install.*CUDA, cuDNN and Ten"
    ):
        open_runtime(colour_artifact(64).path, "onnxruntime-tensorrt")
    assert capsys.readouterr().out == ""


def test_cuda_is_looked_for_in_wheels(colour_artifact: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the provider starts, and what ONNX Runtime prints meanwhile is no output of ours."""
    import onnxruntime

    calls: list[str] = []
    monkeypatch.setattr("edgeloop.edge.onnx_runtime.built_in", lambda: tuple(PROVIDERS.values()))
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: calls.append("preload"))
    monkeypatch.setattr(
        onnxruntime.InferenceSession, "get_providers", lambda _: [calls.append("asked") or "CUDAExecutionProvider"]
    )
    with pytest.warns(UserWarning, match="Specified provider"):
        assert open_runtime(colour_artifact(64).path, "onnxruntime-cuda").name == "onnxruntime-cuda"
    assert calls == ["preload", "asked"]


def test_tensorrt_provider_is_told_int8_by_the_file(colour_artifact: Make, tmp_path: Path) -> None:
    """A file without Q/DQ nodes stays float32; one with them is built in INT8, and engines are kept in the cache."""
    path = colour_artifact(64).path
    plain = tensorrt_options(path, Settings(cache=tmp_path))
    assert (plain["trt_int8_enable"], plain["trt_fp16_enable"]) == ("0", "0")
    assert Path(plain["trt_engine_cache_path"]).is_dir()
    zero = onnx.helper.make_tensor("zero", onnx.TensorProto.INT8, [], [0])
    one = onnx.helper.make_tensor("one", onnx.TensorProto.FLOAT, [], [1.0])
    model = onnx.load(path)
    model.graph.initializer.extend([zero, one])
    model.graph.node.append(onnx.helper.make_node("DequantizeLinear", ["zero", "one", "zero"], ["unread"]))
    onnx.save(model, tmp_path / "int8.onnx")
    assert tensorrt_options(tmp_path / "int8.onnx", Settings(cache=tmp_path))["trt_int8_enable"] == "1"


def test_missing_runtime_says_which_extra(colour_artifact: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence holds the command that installs it."""
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"pip install 'edgeloop\[openvino\]'"):
        open_runtime(colour_artifact(64).path, "openvino")
    with pytest.raises(BadInput, match="no runtime is installed"):
        installed()


@pytest.mark.parametrize("name", CPU_RUNTIMES)
def test_file_that_is_no_model_is_refused(tmp_path: Path, name: RuntimeName) -> None:
    """Both runtimes' own errors become one sentence."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"hello")
    with pytest.raises(BadInput, match="does not load"):
        open_runtime(broken, name)


@pytest.mark.parametrize("name", CPU_RUNTIMES)
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
