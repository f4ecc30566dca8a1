"""One protocol for everything that can run an artifact, and `auto`, which measures instead of assuming."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from edgeloop.boxes import Floats
from edgeloop.edge.machine import instructions, machine
from edgeloop.edge.openvino_qdq import fold_pairs
from edgeloop.errors import BadInput
from edgeloop.files import sha256
from edgeloop.record import Record

RuntimeName = Literal["onnxruntime", "openvino"]
RUNTIMES: tuple[RuntimeName, ...] = ("onnxruntime", "openvino")

Shape = tuple["int | None", "int | None", "int | None", "int | None"]  # N, 3, H, W; None where the file leaves it open
SIDE_WHERE_OPEN = 640  # Ultralytics' default input, for measuring a file that leaves its size open
WARM_UP = 5
ROUNDS = 40  # the median of 40 interleaved runs; two runtimes of an edge model take well under a second


class Runtime(Protocol):
    """Runs one artifact file.

    Attributes:
        name: which runtime this is.
        shape: of the input, (N, 3, H, W); None where the file leaves it open.
    """

    name: RuntimeName
    shape: Shape

    def __call__(self, batch: Floats) -> Floats:
        """Run a batch.

        Args:
            batch: (N, 3, H, W) float32, RGB in 0..1, C-contiguous.

        Returns:
            The first output, (N, ...) float32. It may be overwritten by the next call: copy what must live longer.
        """
        ...

    def close(self) -> None:
        """Give back memory and threads; the runtime cannot be called afterwards."""
        ...


class OnnxRuntime:
    """ONNX Runtime on the CPU."""

    name: RuntimeName = "onnxruntime"

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning burns the cores that decode video and write the log while the model waits for the next frame.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        feed = self._session.get_inputs()[0]
        if feed.type != "tensor(float)":
            raise BadInput(
                f"{path} takes {feed.type}; expected float32 input. Export it with float32 inputs and outputs."
            )
        self._feed = feed.name
        self._fetch = [self._session.get_outputs()[0].name]
        self.shape: Shape = _shape(side if isinstance(side, int) else None for side in feed.shape)

    def __call__(self, batch: Floats) -> Floats:
        _refuse_misfit(self.shape, batch.shape)
        output: Floats = self._session.run(self._fetch, {self._feed: batch})[0]
        return output

    def close(self) -> None:
        del self._session


class OpenVino:
    """OpenVINO on the CPU, in float32 where the file does not say INT8: no silent bfloat16 on processors with AMX."""

    name: RuntimeName = "openvino"

    def __init__(self, path: Path, threads: int) -> None:
        import openvino

        self._core = openvino.Core()
        self._model = self._core.read_model(path)
        fold_pairs(self._model)
        self._partial = openvino.PartialShape
        self._settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(threads),
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": "NO",  # two processes that pin both take core 0
        }
        feed = self._model.inputs[0]
        if feed.get_element_type() != openvino.Type.f32:
            kind = feed.get_element_type().get_type_name()
            raise BadInput(f"{path} takes {kind}; expected float32 input. Export it with float32 inputs and outputs.")
        self.shape: Shape = _shape(None if side.is_dynamic else len(side) for side in feed.get_partial_shape())
        # A file with open sides is compiled for each shape that comes: fixed shapes run faster, and a camera has one.
        self._compiled: dict[tuple[int, ...], Any] = {}
        if None not in self.shape:
            self._request(_noise(self.shape).shape)

    def __call__(self, batch: Floats) -> Floats:
        request = self._compiled.get(batch.shape) or self._request(batch.shape)
        request.infer([batch], share_inputs=True, share_outputs=True)
        output: Floats = request.get_output_tensor(0).data
        return output

    def _request(self, shape: tuple[int, ...]) -> Any:
        _refuse_misfit(self.shape, shape)
        if None in self.shape:
            self._model.reshape(self._partial(list(shape)))
        compiled = self._core.compile_model(self._model, "CPU", self._settings)
        return self._compiled.setdefault(shape, compiled.create_infer_request())

    def close(self) -> None:
        self._compiled.clear()
        del self._model


class RuntimeChoice(Record):
    """What `auto` measured on one machine for one file, and what it chose.

    Attributes:
        median_ms: per runtime, one batch.
    """

    machine: str
    artifact_sha256: str
    threads: int
    versions: dict[str, str]
    median_ms: dict[str, float]
    runtime: RuntimeName


def open_runtime(
    path: Path,
    name: RuntimeName | Literal["auto"] = "auto",
    threads: int = 1,
    cache: Path | None = None,
    among: Sequence[RuntimeName] = RUNTIMES,
) -> Runtime:
    """Load an artifact file.

    Args:
        path: the ONNX file.
        name: which runtime; "auto" takes the fastest of those installed, measured on this very file.
        threads: CPU threads it may use.
        cache: folder where `auto` remembers what it chose; None is `edgeloop/` in the user's cache folder.
        among: what `auto` may choose from.

    Raises:
        BadInput: the file is missing or does not load, or the runtime is not installed.
    """
    if not path.is_file():
        raise BadInput(f"{path} does not exist; expected an ONNX file.")
    if name != "auto":
        return _load(path, name, threads)
    candidates = installed(among)
    if len(candidates) == 1:
        return _load(path, candidates[0], threads)
    return _fastest(path, candidates, threads, cache or default_cache())


def installed(among: Sequence[RuntimeName] = RUNTIMES) -> tuple[RuntimeName, ...]:
    """The runtimes of `among` that this Python can import.

    Raises:
        BadInput: none of them.
    """
    found = tuple(name for name in among if find_spec(name) is not None)
    if not found:
        raise BadInput(f"no runtime is installed; expected one of {', '.join(among)}: {_how_to_install(*among)}")
    return found


def default_cache() -> Path:
    """Where choices are remembered when nobody says: `edgeloop/` under XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeloop"


def measure(runtimes: Mapping[str, Runtime], rounds: int = ROUNDS) -> dict[str, float]:
    """Median milliseconds of one batch, the runtimes taking turns so that a busy machine slows all of them alike."""
    batches = {name: _noise(runtime.shape) for name, runtime in runtimes.items()}
    taken: dict[str, list[int]] = {name: [] for name in runtimes}
    for number in range(WARM_UP + rounds):
        for name, runtime in runtimes.items():
            begin = time.perf_counter_ns()
            runtime(batches[name])
            if number >= WARM_UP:
                taken[name].append(time.perf_counter_ns() - begin)
    return {name: float(np.median(times)) / 1e6 for name, times in taken.items()}


def _fastest(path: Path, candidates: Sequence[RuntimeName], threads: int, cache: Path) -> Runtime:
    versions = {name: version(name) for name in candidates}
    digest = sha256(path)
    key = repr((machine(), instructions(), os.cpu_count(), digest, threads, versions))
    remembered = cache / f"runtime-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    with suppress(BadInput):  # nothing remembered yet, or by another release: measure again
        return _load(path, RuntimeChoice.load(remembered).runtime, threads)
    loaded: dict[str, Runtime] = {name: _load(path, name, threads) for name in candidates}
    medians = measure(loaded)
    best = min(candidates, key=lambda name: medians[name])
    RuntimeChoice(
        machine=machine(), artifact_sha256=digest, threads=threads, versions=versions, median_ms=medians, runtime=best
    ).save(remembered)
    for name in candidates:
        if name != best:
            loaded[name].close()
    return loaded[best]


def _load(path: Path, name: RuntimeName, threads: int) -> Runtime:
    if name not in RUNTIMES:
        raise BadInput(f"expected a runtime of auto, {', '.join(RUNTIMES)}; came {name!r}.")
    if find_spec(name) is None:
        raise BadInput(f"the runtime {name} is not installed: {_how_to_install(name)}")
    try:
        return OnnxRuntime(path, threads) if name == "onnxruntime" else OpenVino(path, threads)
    except BadInput:
        raise
    except Exception as error:  # both raise bare Exceptions of their own for a file that they cannot read
        reason = " ".join(str(error).split())[:300]
        raise BadInput(
            f"{path} does not load in {name} ({reason}); expected an ONNX detector. Export it again."
        ) from error


def _how_to_install(*names: RuntimeName) -> str:
    return " or ".join(f"pip install 'edgeloop[{name}]'" for name in names) + "."


def _shape(sides: Iterable[int | None]) -> Shape:
    batch, channels, height, width = sides
    return batch, channels, height, width


def _refuse_misfit(expected: Shape, came: tuple[int, ...]) -> None:
    if len(came) != 4 or any(want not in (None, have) for want, have in zip(expected, came, strict=True)):
        raise BadInput(f"the file takes {expected}, came {came}; export it for this batch and size.")


def _noise(shape: Shape) -> Floats:
    batch, channels, height, width = shape
    sides = (batch or 1, channels or 3, height or SIDE_WHERE_OPEN, width or SIDE_WHERE_OPEN)
    return np.random.default_rng(0).random(sides, np.float32)
