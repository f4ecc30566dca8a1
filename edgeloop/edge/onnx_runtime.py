"""ONNX Runtime: on the CPU, or through its CUDA and TensorRT providers.

The CPU provider runs in the tests, the CUDA provider ran on an H100 (docs/runtimes.md says what was seen). The TensorRT
provider is UNVERIFIED: written from ONNX Runtime's documentation. Both are refused where they do not start, instead of
running on the CPU in silence, which is what ONNX Runtime itself does.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from edgeloop.boxes import Floats
from edgeloop.edge.runtime import Batch, RuntimeName, Settings, Shape, kind_of, refuse_misfit, shape_of
from edgeloop.errors import BadInput

PROVIDERS: Mapping[RuntimeName, str] = {
    "onnxruntime": "CPUExecutionProvider",
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
}
ERRORS = 3  # and what is worse is logged
QUANTIZED = b"DequantizeLinear"  # operator names stand in an ONNX file as plain bytes


class OnnxRuntime:
    """One file in ONNX Runtime, with one of its providers."""

    def __init__(self, path: Path, settings: Settings, name: RuntimeName = "onnxruntime") -> None:
        import onnxruntime

        self.name = name
        if name != "onnxruntime":
            _preload(onnxruntime)
        chosen = _providers(path, settings, name)
        try:
            with redirect_stdout(io.StringIO()):  # where its own fallback prints
                self._session = onnxruntime.InferenceSession(
                    path, _options(settings), providers=chosen, enable_fallback=0
                )
        except (ValueError, RuntimeError) as error:  # of a provider; a file that it cannot read is none of the two
            if name == "onnxruntime":
                raise
            raise _not_started(name, _last_words(error)) from error
        self._session.disable_fallback()  # it would go on elsewhere in the middle of a run, too
        came = self._session.get_providers()[0]
        if came != PROVIDERS[name]:
            raise _not_started(name, f"ONNX Runtime fell back to {came}")
        feed = self._session.get_inputs()[0]
        self._feed = feed.name
        self._fetch = [self._session.get_outputs()[0].name]
        self.input = kind_of(path, feed.type)
        self.shape: Shape = shape_of(self.input, (side if isinstance(side, int) else None for side in feed.shape))

    def __call__(self, batch: Batch) -> Floats:
        refuse_misfit(self, batch)
        output: Floats = self._session.run(self._fetch, {self._feed: batch})[0]
        return output

    def close(self) -> None:
        del self._session


def built_in() -> tuple[str, ...]:
    """The providers that this build of ONNX Runtime has; whether their libraries and a GPU are there shows later."""
    import onnxruntime

    return tuple(onnxruntime.get_available_providers())


def is_quantized(path: Path) -> bool:
    """Whether an ONNX file has Q/DQ nodes, without a library that parses it."""
    return QUANTIZED in path.read_bytes()


def _not_started(name: RuntimeName, reason: str) -> BadInput:
    libraries = "CUDA, cuDNN and TensorRT" if name == "onnxruntime-tensorrt" else "CUDA and cuDNN"
    return BadInput(
        f"{PROVIDERS[name]} did not start ({reason}); check the GPU, {libraries}, or choose the runtime onnxruntime."
    )


def _last_words(error: Exception) -> str:
    """What follows the C++ function that a provider's error names."""
    return " ".join(str(error).split()).rpartition(") ")[2][:200].rstrip(". ")


def _preload(onnxruntime: Any) -> None:
    """Load CUDA and cuDNN from NVIDIA's wheels, where the linker does not look; without them from the system.

    ONNX Runtime has it since 1.21. What it prints of libraries that it does not find is dropped: whether the provider
    starts without them shows right after. Its default logger, which no session's options reach, warns at each start.
    """
    onnxruntime.set_default_logger_severity(ERRORS)
    if hasattr(onnxruntime, "preload_dlls"):
        with redirect_stdout(io.StringIO()):
            onnxruntime.preload_dlls()


def _options(settings: Settings) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS
    # Spinning burns the cores that decode video and write the log while the model waits for the next frame.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _providers(path: Path, settings: Settings, name: RuntimeName) -> list[Any]:
    """What `InferenceSession` takes. Nodes that a GPU provider lacks run on the next one in the list."""
    cuda = (PROVIDERS["onnxruntime-cuda"], {"device_id": "0", "use_tf32": "0"})  # float32 means float32
    if name == "onnxruntime":
        return [PROVIDERS[name]]
    if name == "onnxruntime-cuda":
        return [cuda, PROVIDERS["onnxruntime"]]
    return [(PROVIDERS[name], tensorrt_options(path, settings)), cuda, PROVIDERS["onnxruntime"]]


def tensorrt_options(path: Path, settings: Settings) -> dict[str, str]:
    """Options of the TensorRT provider: engines and timings are kept, INT8 where the file has Q/DQ nodes.

    Source: ONNX Runtime's page "TensorRT Execution Provider", section Configurations.
    """
    folder = settings.cache / "onnxruntime-tensorrt"
    folder.mkdir(parents=True, exist_ok=True)
    switch = "1" if is_quantized(path) else "0"
    return {
        "device_id": "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        "trt_int8_enable": switch,
        "trt_fp16_enable": switch,  # what INT8 leaves in float; a float32 file stays float32
    }
