"""One protocol for everything that can run an artifact, and the way to open one by name or by measurement."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from edgeloop.artifact import InputKind
from edgeloop.boxes import Floats
from edgeloop.errors import BadInput, EdgeloopError

RuntimeName = Literal["onnxruntime", "openvino", "tensorrt", "onnxruntime-tensorrt", "onnxruntime-cuda"]
RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)
CPU_RUNTIMES: tuple[RuntimeName, ...] = ("onnxruntime", "openvino")  # what every machine can run

Shape = tuple["int | None", "int | None", "int | None", "int | None"]  # N, 3, H, W; None where the file leaves it open
Batch = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
SIDE_WHERE_OPEN = 640  # Ultralytics' default input, for measuring a file that leaves its size open


class Runtime(Protocol):
    """Runs one artifact file.

    Attributes:
        name: which runtime this is.
        shape: of the input as (N, 3, H, W), whatever the layout; None where the file leaves it open.
        input: what the file takes.
    """

    name: RuntimeName
    shape: Shape
    input: InputKind

    def __call__(self, batch: Batch) -> Floats:
        """Run a batch.

        Args:
            batch: C-contiguous; for the input "float32-nchw" (N, 3, H, W) float32, RGB in 0..1, for "uint8-nhwc"
                (N, H, W, 3) uint8, BGR.

        Returns:
            The first output, (N, ...) float32. It may be overwritten by the next call: copy what must live longer.
        """
        ...

    def close(self) -> None:
        """Give back memory and threads; the runtime cannot be called afterwards."""
        ...


def default_cache() -> Path:
    """Where choices and engines are kept when nobody says: `edgeloop/` under XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeloop"


@dataclass(frozen=True)
class Settings:
    """How a file is loaded.

    Attributes:
        threads: CPU threads it may use.
        batch: how many images a call brings where the file leaves that open.
        cache: folder for engines, timings and choices.
    """

    threads: int = 1
    batch: int = 1
    cache: Path = field(default_factory=default_cache)


def open_runtime(
    path: Path,
    name: RuntimeName | Literal["auto"] = "auto",
    threads: int = 1,
    *,
    batch: int = 1,
    cache: Path | None = None,
    among: Sequence[RuntimeName] = RUNTIMES,
) -> Runtime:
    """Load an artifact file.

    Args:
        path: the ONNX file.
        name: which runtime; "auto" takes the fastest of those that run here, measured on this very file.
        threads: CPU threads it may use.
        batch: how many images a call brings; matters to TensorRT and to `auto` where the file leaves it open.
        cache: folder for what is remembered: choices, engines; None is `edgeloop/` in the user's cache folder.
        among: what `auto` may choose from.

    Raises:
        BadInput: the file is missing or does not load, or the runtime is not installed.
    """
    if not path.is_file():
        raise BadInput(f"{path} does not exist; expected an ONNX file.")
    settings = Settings(threads, batch, cache or default_cache())
    if name != "auto":
        return load(path, name, settings)
    candidates = installed(among)
    if len(candidates) == 1:
        return load(path, candidates[0], settings)
    from edgeloop.edge.auto import open_fastest

    return open_fastest(path, candidates, settings)


def installed(among: Sequence[RuntimeName] = RUNTIMES) -> tuple[RuntimeName, ...]:
    """The runtimes of `among` that this Python can import.

    Raises:
        BadInput: none of them.
    """
    found = tuple(name for name in among if is_installed(name))
    if not found:
        raise BadInput(f"no runtime is installed; expected one of {', '.join(among)}: {_how_to_install(*among)}")
    return found


def is_installed(name: RuntimeName) -> bool:
    """Whether this Python can import it; whether a GPU is there shows when it loads."""
    module = name.partition("-")[0]
    if find_spec(module) is None:
        return False
    if module == name:
        return True
    from edgeloop.edge.onnx_runtime import PROVIDERS, built_in

    return PROVIDERS[name] in built_in()


def load(path: Path, name: RuntimeName, settings: Settings) -> Runtime:
    """Load a file in the named runtime.

    Raises:
        BadInput: there is no such runtime, it is not installed, or the file does not load in it.
        Refused: TensorRT is asked for an INT8 file that breaks its rules.
    """
    if name not in RUNTIMES:
        raise BadInput(f"expected a runtime of auto, {', '.join(RUNTIMES)}; came {name!r}.")
    if not is_installed(name):
        raise BadInput(f"the runtime {name} is not installed: {_how_to_install(name)}")
    try:
        return _implementation(path, name, settings)
    except EdgeloopError:
        raise
    except Exception as error:  # each raises bare Exceptions of its own for a file that it cannot read
        reason = " ".join(str(error).split())[:300]
        raise BadInput(
            f"{path} does not load in {name} ({reason}); expected an ONNX detector. Export it again."
        ) from error


def _implementation(path: Path, name: RuntimeName, settings: Settings) -> Runtime:
    if name == "openvino":
        from edgeloop.edge.openvino_runtime import OpenVino

        return OpenVino(path, settings)
    if name == "tensorrt":
        from edgeloop.edge.tensorrt_runtime import TensorRt

        return TensorRt(path, settings)
    from edgeloop.edge.onnx_runtime import OnnxRuntime

    return OnnxRuntime(path, settings, name)


def _how_to_install(*names: RuntimeName) -> str:
    """One way for each library among the names."""
    ways = {
        "onnxruntime": "pip install 'edgeloop[onnxruntime]'",
        "openvino": "pip install 'edgeloop[openvino]'",
        "tensorrt": "pip install 'edgeloop[tensorrt]' beside JetPack's TensorRT (on a workstation tensorrt-cu12)",
    }
    if all("-" in name for name in names):
        return "pip install onnxruntime-gpu in place of onnxruntime (on a Jetson NVIDIA's own build of it)."
    return " or ".join(ways[name] for name in dict.fromkeys(name.partition("-")[0] for name in names)) + "."


def shape_of(kind: InputKind, sides: Iterable[int | None]) -> Shape:
    """(N, 3, H, W) from a file's own sides in the layout of `kind`.

    Raises:
        BadInput: the input has other than four sides.
    """
    found = tuple(sides)
    if len(found) != 4:
        raise BadInput(f"expected a model with one image input of 4 sides, came {len(found)}; export a detector.")
    batch, *rest = found
    height, width, channels = rest if kind == "uint8-nhwc" else (*rest[1:], rest[0])
    return batch, channels, height, width


def sides_of(kind: InputKind, shape: Shape, batch: int = 1) -> tuple[int, ...]:
    """A file's own sides, in the layout of `kind`, with every open one filled in."""
    number, channels, height, width = shape
    size = (height or SIDE_WHERE_OPEN, width or SIDE_WHERE_OPEN)
    if kind == "uint8-nhwc":
        return (number or batch, *size, channels or 3)
    return (number or batch, channels or 3, *size)


def kind_of(path: Path, element: str) -> InputKind:
    """What a file takes, from a runtime's word for the element type of its input.

    Raises:
        BadInput: neither float32 nor uint8.
    """
    if element in ("tensor(float)", "f32", "DataType.FLOAT"):
        return "float32-nchw"
    if element in ("tensor(uint8)", "u8", "DataType.UINT8"):
        return "uint8-nhwc"
    raise BadInput(f"{path} takes {element}; expected float32 input, or uint8. Export it with edgeloop.")


def refuse_misfit(runtime: Runtime, batch: Batch) -> None:
    """Refuse a batch that the file was not exported for.

    Raises:
        BadInput: another element type, or another batch or size.
    """
    wanted = np.uint8 if runtime.input == "uint8-nhwc" else np.float32
    if batch.dtype != wanted:
        raise BadInput(f"the file takes {runtime.input}, came {batch.dtype}; fill the input for this file.")
    came = shape_of(runtime.input, batch.shape)
    if any(want not in (None, have) for want, have in zip(runtime.shape, came, strict=True)):
        raise BadInput(f"the file takes {runtime.shape}, came {came}; export it for this batch and size.")


def noise(runtime: Runtime, batch: int = 1) -> Batch:
    """A batch of noise that the runtime takes, always the same."""
    sides = sides_of(runtime.input, runtime.shape, batch)
    generator = np.random.default_rng(0)
    if runtime.input == "uint8-nhwc":
        return generator.integers(0, 256, sides, np.uint8)
    return generator.random(sides, np.float32)
