"""What can be shown of TensorRT without a GPU: names, and engines that are kept, damaged, wrong or refused."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.artifact import Artifact
from edgeloop.card import QuantizeCard
from edgeloop.edge import runtime as runtime_module
from edgeloop.edge import tensorrt_build, tensorrt_runtime
from edgeloop.edge.cuda import SIGNATURES, Cuda
from edgeloop.edge.detector import Detector
from edgeloop.edge.runtime import open_runtime
from edgeloop.edge.tensorrt_runtime import EngineRecord
from edgeloop.errors import BadInput, EdgeloopError, Refused
from models.byte_input import take_bytes
from models.quantize import quantize
from tests.detectors import save_artifact
from tests.edgeloop.edge.simulated_tensorrt import API, SimulatedTensorRt

Make = Callable[..., Artifact]
Install = Callable[..., SimulatedTensorRt]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a simulated TensorRT of a version, and its CUDA, in the place of the real one."""
    find_spec = importlib.util.find_spec

    def put(version: str = "10.3.0") -> SimulatedTensorRt:
        simulated = SimulatedTensorRt(version)
        monkeypatch.setitem(sys.modules, "tensorrt", simulated.module)
        monkeypatch.setattr(tensorrt_runtime, "Cuda", lambda: simulated.cuda)
        monkeypatch.setattr(
            runtime_module,
            "find_spec",
            lambda name: ModuleSpec(name, None) if name == "tensorrt" else find_spec(name),
        )
        return simulated

    return put


@pytest.fixture
def int8(tmp_path: Path) -> Artifact:
    """A small quantized detector."""
    random = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(8)]
    for path in paths:
        cv2.imwrite(str(path), random.integers(0, 256, (40, 48, 3), np.uint8))
    return quantize(save_artifact(tmp_path), paths, QuantizeCard(frames=8), tmp_path / "int8.onnx")


def engines(cache: Path) -> list[Path]:
    return sorted((cache / "tensorrt").glob("*.engine"))


@pytest.mark.parametrize("version", API)
def test_engine_answers_as_the_file_does(colour_artifact: Make, install: Install, tmp_path: Path, version: str) -> None:
    """With no other names than the bindings of 8.6, 10.3 and 11.4 have: built, tested, kept, run."""
    install(version)
    path = colour_artifact(64).path
    loaded = open_runtime(path, "tensorrt", cache=tmp_path)
    assert (loaded.name, loaded.shape, loaded.input) == ("tensorrt", (1, 3, 64, 64), "float32-nchw")
    batch = np.random.default_rng(1).random((1, 3, 64, 64), np.float32)
    np.testing.assert_allclose(loaded(batch), open_runtime(path, "onnxruntime")(batch), atol=1e-6)
    (engine,) = engines(tmp_path)
    record = EngineRecord.load(engine.with_name(engine.name + ".json"))
    assert (record.tensorrt, record.reference) == (version, "openvino")


@pytest.mark.parametrize(
    ("version", "plain", "quantized"),
    [("8.6.1", set(), {"INT8", "FP16"}), ("10.3.0", set(), {"INT8", "FP16"}), ("11.4.0", set(), set())],
)
def test_precision_comes_from_the_file(
    install: Install, int8: Artifact, tmp_path: Path, version: str, plain: set[str], quantized: set[str]
) -> None:
    """Up to 10 an INT8 file needs flags, from 11 on there are none; float32 stays float32, without TF32, in all."""
    simulated = install(version)
    open_runtime(save_artifact(tmp_path).path, "tensorrt", cache=tmp_path)
    open_runtime(int8.path, "tensorrt", cache=tmp_path)
    assert simulated.flags == [plain, quantized]


def test_second_start_builds_nothing(colour_artifact: Make, install: Install, tmp_path: Path) -> None:
    """A build of minutes is paid once; another TensorRT, GPU or batch has an engine of its own."""
    simulated = install()
    path = colour_artifact(64, "N").path
    for _ in range(2):
        open_runtime(path, "tensorrt", cache=tmp_path).close()
    assert len(simulated.flags) == 1
    open_runtime(path, "tensorrt", batch=4, cache=tmp_path)
    simulated.cuda.device = "sm110 x20 driver 13000"
    open_runtime(path, "tensorrt", cache=tmp_path)
    assert len(simulated.flags) == 3
    newer = install("11.4.0")
    open_runtime(path, "tensorrt", cache=tmp_path)
    assert len(newer.flags) == 1
    assert len(engines(tmp_path)) == 4


def test_timings_are_carried_to_the_next_build(colour_artifact: Make, install: Install, tmp_path: Path) -> None:
    """The second build on a device begins with what the first one timed; a refused cache is begun anew."""
    simulated = install()
    for side in (32, 64):
        open_runtime(colour_artifact(side).path, "tensorrt", cache=tmp_path)
    simulated.refuses_kept = True
    open_runtime(colour_artifact(96).path, "tensorrt", cache=tmp_path)
    assert simulated.timings == [b"", b"timed ", b""]


@pytest.mark.parametrize("damage", ["cut", "changed", "unread", "no record", "wrong answers"])
def test_engine_that_is_not_right_is_built_again(
    colour_artifact: Make, install: Install, tmp_path: Path, damage: str
) -> None:
    """A device that lost power while it wrote, or whose engine no longer answers, recovers by itself."""
    simulated = install()
    path = colour_artifact(64).path
    open_runtime(path, "tensorrt", cache=tmp_path).close()
    (engine,) = engines(tmp_path)
    record = engine.with_name(engine.name + ".json")
    if damage == "cut":
        engine.write_bytes(engine.read_bytes()[:20])
    elif damage == "changed":
        engine.write_bytes(engine.read_bytes()[:-1] + b"x")
    elif damage == "no record":
        record.unlink()
    elif damage == "unread":
        engine.write_bytes(b"of another TensorRT")
        digest = hashlib.sha256(b"of another TensorRT").hexdigest()
        EngineRecord.load(record).model_copy(update={"engine_sha256": digest}).save(record)
    else:
        answers = iter([np.nan] * 7)
        simulated.answer = lambda output: output * next(answers, 1)
    loaded = open_runtime(path, "tensorrt", cache=tmp_path)
    assert len(simulated.flags) == 2
    assert np.isfinite(loaded(np.zeros((1, 3, 64, 64), np.float32))).all()
    assert len(simulated.cuda.memory) == 2  # the memory of the first try was given back


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda output: output * np.nan, "no numbers"),
        (lambda output: output * 0, "noise and a grey image"),
        (lambda output: output + np.random.default_rng().random(output.shape, np.float32), "two answers"),
        (lambda output: output * np.float32(0.8), "away from the reference's"),
    ],
)
def test_fresh_engine_that_answers_wrong_is_refused(
    colour_artifact: Make, install: Install, tmp_path: Path, wrong: Callable[[np.ndarray], np.ndarray], reason: str
) -> None:
    """It is neither used nor kept."""
    simulated = install()
    simulated.answer = wrong
    with pytest.raises(BadInput, match=reason):
        open_runtime(colour_artifact(64).path, "tensorrt", cache=tmp_path)
    assert engines(tmp_path) == []


def test_open_batch_gets_a_profile(colour_artifact: Make, install: Install, tmp_path: Path) -> None:
    """From one image to the batch that was asked for, in either layout; more is refused in words."""
    simulated = install()
    artifact = colour_artifact(64, "N")
    loaded = open_runtime(artifact.path, "tensorrt", batch=4, cache=tmp_path)
    assert simulated.profiles == [((1, 3, 64, 64), (4, 3, 64, 64), (4, 3, 64, 64))]
    for number in (4, 1, 3):
        assert loaded(np.zeros((number, 3, 64, 64), np.float32)).shape == (number, 7, 64)
    with pytest.raises(BadInput, match="up to 4 images in a call, came 5"):
        loaded(np.zeros((5, 3, 64, 64), np.float32))


def test_bytes_go_in_as_bytes(colour_artifact: Make, install: Install, tmp_path: Path) -> None:
    """A file that takes uint8 gets a quarter of the memory, and the colours are right."""
    simulated = install()
    floats = colour_artifact(64)
    path = tmp_path / "bytes.onnx"
    path.write_bytes(take_bytes(floats.path.read_bytes()))
    narrow = floats.model_copy(update={"path": path, "input": "uint8-nhwc"})
    loaded = open_runtime(path, "tensorrt", cache=tmp_path)
    blue = np.zeros((64, 64, 3), np.uint8)
    blue[16:32, 16:32, 0] = 255
    assert {narrow.names[index] for index in Detector(narrow, loaded).detect(blue).detections.classes} == {"blue"}
    assert min(len(block) for block in simulated.cuda.memory.values()) <= 64 * 64 * 3


def test_file_that_breaks_a_rule_is_never_built(install: Install, int8: Artifact, tmp_path: Path) -> None:
    """The static checker comes first: an asymmetric zero point is refused with exit code 3."""
    import onnx
    from onnx import numpy_helper

    simulated = install()
    model = onnx.load(str(int8.path))
    zeros = {node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    for tensor in model.graph.initializer:
        if tensor.name in zeros:
            tensor.CopyFrom(numpy_helper.from_array(np.array(3, np.int8), tensor.name))
    onnx.save(model, tmp_path / "broken.onnx")
    with pytest.raises(Refused, match="symmetric"):
        open_runtime(tmp_path / "broken.onnx", "tensorrt", cache=tmp_path)
    assert simulated.flags == []


def test_refusals_are_sentences(
    colour_artifact: Make, install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is none, a size that is open, a TensorRT from before 8.5, a build that fails."""
    install()
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"hello")
    with pytest.raises(BadInput, match=r"TensorRT does not read .*no ONNX"):
        open_runtime(broken, "tensorrt", cache=tmp_path)
    with pytest.raises(BadInput, match=r"8\.5 or later"):
        tensorrt_build.refuse_old("8.4.1.5")
    tensorrt_build.refuse_old("10.3.0.26")
    monkeypatch.setattr(
        "tests.edgeloop.edge.simulated_tensorrt.SimulatedBuilder.build_serialized_network", lambda *_: None
    )
    with pytest.raises(BadInput, match="built no engine"):
        open_runtime(colour_artifact(64).path, "tensorrt", cache=tmp_path)


class FakeLibrary:
    """Answers as libcudart does where there is no GPU: every call fails with the same code."""

    class _Function:
        def __init__(self, answer: object) -> None:
            self.answer = answer

        def __call__(self, *_: object) -> object:
            return self.answer

    def __init__(self, code: int) -> None:
        for name in SIGNATURES:
            setattr(self, name, self._Function(code))
        self.cudaGetErrorString = self._Function(b"no CUDA-capable device is detected")


def test_no_gpu_is_one_sentence() -> None:
    """The driver's own reason is in it."""
    with pytest.raises(BadInput, match=r"CUDA error 100, no CUDA-capable device is detected\. Choose another"):
        Cuda(FakeLibrary(100))  # type: ignore[arg-type]


def test_failing_copy_is_an_error_of_ours() -> None:
    """A GPU that goes away while it runs is no bad input."""
    cuda = Cuda(FakeLibrary(0))  # type: ignore[arg-type]
    cuda._library = FakeLibrary(719)  # type: ignore[assignment]
    with pytest.raises(EdgeloopError, match="cudaMemcpyAsync failed with CUDA error 719"):
        cuda.copy_in(0, np.zeros(4, np.float32))


def test_failing_call_leaves_no_error_behind() -> None:
    """CUDA keeps a thread's last error until somebody asks; torch was the next to ask, and took it for its own."""
    cuda = Cuda(FakeLibrary(0))  # type: ignore[arg-type]
    cuda._library = library = FakeLibrary(2)  # type: ignore[assignment]
    kept = ["out of memory"]
    library.cudaGetLastError = kept.clear
    with pytest.raises(EdgeloopError, match="cudaMalloc failed"):
        cuda.allocate(1 << 50)
    assert kept == []


def test_real_library_has_every_function() -> None:
    """Where a CUDA runtime is installed, GPU or not, its symbols are those that are called."""
    from edgeloop.edge.cuda import open_library

    try:
        library = open_library()
    except BadInput:
        pytest.skip("no libcudart is installed here")
    assert isinstance(library, ctypes.CDLL)
    assert all(hasattr(library, name) for name in SIGNATURES)
