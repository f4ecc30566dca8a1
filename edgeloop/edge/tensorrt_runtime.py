"""TensorRT: an engine built on this very device, kept, verified, warmed and tested before it meets a camera.

UNVERIFIED on a GPU. What is done with engines (kept, found damaged, rebuilt, refused) runs in the tests with a
simulated TensorRT that has no other names than NVIDIA's bindings and computes with ONNX Runtime.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from edgeloop.boxes import Floats
from edgeloop.edge.cuda import Cuda
from edgeloop.edge.machine import machine
from edgeloop.edge.runtime import (
    CPU_RUNTIMES,
    Batch,
    RuntimeName,
    Settings,
    Shape,
    is_installed,
    kind_of,
    load,
    refuse_misfit,
    shape_of,
    sides_of,
)
from edgeloop.edge.self_test import self_test
from edgeloop.edge.tensorrt_build import build_engine, refuse_old
from edgeloop.errors import BadInput, EdgeloopError
from edgeloop.files import sha256, write_bytes
from edgeloop.record import Record

FLOAT_BYTES = 4


class EngineRecord(Record):
    """What an engine file was made from, and with. Engines fit one GPU and one TensorRT.

    Attributes:
        seconds: that building took.
        reference: the runtime whose answers the fresh engine's were compared with; None where none was installed.
    """

    artifact_sha256: str
    engine_sha256: str
    tensorrt: str
    device: str
    batch: int
    seconds: float
    reference: str | None


class TensorRt:
    """One file in TensorRT, on GPU 0."""

    name: RuntimeName = "tensorrt"

    def __init__(self, path: Path, settings: Settings) -> None:
        import tensorrt

        refuse_old(tensorrt.__version__)
        self._cuda = Cuda()
        self._runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
        self._batch = settings.batch
        place = EnginePlace(path, settings, tensorrt.__version__, f"{machine()} {self._cuda.describe()}")
        self._addresses: list[int] = []
        with suppress(EdgeloopError):  # none was kept, or it is damaged, of another TensorRT or wrong: build it again
            self._open(path, place.recall())
            self_test(self, settings.batch)
            return
        self._free()
        plan, seconds = place.build()
        self._open(path, plan)
        place.keep(plan, seconds, _test_fresh(self, path, settings))

    def _open(self, path: Path, plan: bytes) -> None:
        """Read an engine and lay out its memory.

        Raises:
            BadInput: TensorRT does not take the engine, or it is none of a detector.
        """
        import tensorrt

        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise BadInput(f"TensorRT {tensorrt.__version__} does not read the engine of {path}; delete it.")
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        feeds = [name for name in names if self._engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT]
        if len(names) != 2 or len(feeds) != 1:
            raise BadInput(f"{path} has the inputs and outputs {', '.join(names)}; expected one of each.")
        (self._feed,) = feeds
        (self._fetch,) = (name for name in names if name != self._feed)
        if self._engine.get_tensor_dtype(self._fetch) != tensorrt.DataType.FLOAT:
            raise BadInput(f"{path} gives {self._engine.get_tensor_dtype(self._fetch)}; expected float32 output.")
        self.input = kind_of(path, str(self._engine.get_tensor_dtype(self._feed)))
        sides = (None if side == -1 else int(side) for side in self._engine.get_tensor_shape(self._feed))
        self.shape: Shape = shape_of(self.input, sides)
        self._context = self._engine.create_execution_context()
        self._allocate()

    def _allocate(self) -> None:
        """Memory on the device for the largest batch; smaller ones use the beginning of it."""
        largest = sides_of(self.input, self.shape, self._batch)
        self._sides: tuple[int, ...] = ()
        self._resize(largest)
        size = int(np.prod(largest)) * (1 if self.input == "uint8-nhwc" else FLOAT_BYTES)
        self._addresses += [self._cuda.allocate(size), self._cuda.allocate(self._output.nbytes)]
        for name, address in zip((self._feed, self._fetch), self._addresses, strict=True):
            self._context.set_tensor_address(name, address)

    def _resize(self, sides: tuple[int, ...]) -> None:
        if not self._context.set_input_shape(self._feed, sides):
            raise BadInput(f"the engine takes up to {self._batch} images in a call, came {sides[0]}; open it for more.")
        self._sides = sides
        self._output = np.empty(tuple(self._context.get_tensor_shape(self._fetch)), np.float32)

    def __call__(self, batch: Batch) -> Floats:
        refuse_misfit(self, batch)
        if batch.shape != self._sides:
            self._resize(batch.shape)
        self._cuda.copy_in(self._addresses[0], batch)
        if not self._context.execute_async_v3(self._cuda.stream):
            raise EdgeloopError("TensorRT did not run the engine; its own lines above say why.")
        self._cuda.copy_out(self._output, self._addresses[1])
        self._cuda.wait()
        return self._output

    def _free(self) -> None:
        while self._addresses:
            self._cuda.free(self._addresses.pop())

    def close(self) -> None:
        self._free()
        del self._context, self._engine  # before the stream that they ran on
        self._cuda.close()


class EnginePlace:
    """Where the engine of one file for one device and TensorRT is kept."""

    def __init__(self, path: Path, settings: Settings, version: str, device: str) -> None:
        self._path, self._settings, self._version, self._device = path, settings, version, device
        self._digest = sha256(path)
        folder = settings.cache / "tensorrt"
        here = hashlib.sha256(f"{version} {device}".encode()).hexdigest()[:12]
        self.engine = folder / f"{self._digest[:12]}-batch{settings.batch}-{here}.engine"
        self.timings = folder / f"{here}.timings"

    @property
    def record(self) -> Path:
        """What the engine was made from, beside it."""
        return self.engine.with_name(self.engine.name + ".json")

    def recall(self) -> bytes:
        """The kept engine.

        Raises:
            BadInput: none is kept, or it is not the one that was recorded.
        """
        recorded = EngineRecord.load(self.record)
        wanted = (self._digest, self._version, self._device)
        if (recorded.artifact_sha256, recorded.tensorrt, recorded.device) != wanted or not self.engine.is_file():
            raise BadInput(f"{self.engine} is of another file, device or TensorRT; it is built again.")
        plan = self.engine.read_bytes()
        if hashlib.sha256(plan).hexdigest() != recorded.engine_sha256:
            raise BadInput(f"{self.engine} has changed since it was built; it is built again.")
        return plan

    def build(self) -> tuple[bytes, float]:
        """A fresh engine and the seconds that it took."""
        begin = time.monotonic()
        plan = build_engine(self._path, self._settings.batch, self.timings)
        return plan, time.monotonic() - begin

    def keep(self, plan: bytes, seconds: float, reference: str | None) -> None:
        """Write an engine that passed its self-test."""
        write_bytes(self.engine, plan)
        EngineRecord(
            artifact_sha256=self._digest,
            engine_sha256=hashlib.sha256(plan).hexdigest(),
            tensorrt=self._version,
            device=self._device,
            batch=self._settings.batch,
            seconds=seconds,
            reference=reference,
        ).save(self.record)


def _test_fresh(runtime: Any, path: Path, settings: Settings) -> str | None:
    """Test a fresh engine against a CPU runtime on the same file, where one is installed; its name.

    Raises:
        BadInput: the engine fails.
    """
    named = next((name for name in CPU_RUNTIMES[::-1] if is_installed(name)), None)
    reference = load(path, named, settings) if named else None
    self_test(runtime, settings.batch, reference)
    if reference is not None:
        reference.close()
    return named
