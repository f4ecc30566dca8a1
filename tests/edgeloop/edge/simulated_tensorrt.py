"""A simulated TensorRT and a simulated CUDA, for the part of the code that needs no GPU.

The simulation has no name that NVIDIA's bindings of that version lack: `tensorrt_api.json` holds the members of the
classes as the published bindings 8.6.1, 10.3.0 and 11.4.0 have them, and every attribute is looked up there. What an
engine computes is computed by ONNX Runtime. It shows how engines are kept, checked and refused; not that a real
TensorRT builds them.
"""

from __future__ import annotations

import json
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime

API: dict[str, dict[str, list[str]]] = json.loads(Path(__file__).with_name("tensorrt_api.json").read_text())
PLAN = b"simulated plan\n"


class Named:
    """Lets through the names that this class has in the real bindings, and no other."""

    def __init__(self, members: list[str], target: Any) -> None:
        object.__setattr__(self, "_members", members)
        object.__setattr__(self, "_target", target)

    def __getattr__(self, name: str) -> Any:
        if name not in self._members:
            raise AttributeError(f"NVIDIA's bindings have no {name}")
        return getattr(self._target, name)


class SimulatedMemory(bytes):
    """IHostMemory: what can be turned into bytes."""


class SimulatedTensorRt:
    """The module `tensorrt` of one version.

    Attributes:
        flags: what the builder was told, per build.
        profiles: of each build: minimum, optimum, maximum.
        timings: what each build found in its timing cache.
        answer: what an engine does with its output before it is copied; tests make it wrong.
        refuses_kept: whether a kept timing cache is of another device.
    """

    def __init__(self, version: str) -> None:
        self.version, self.api = version, API[version]
        self.flags: list[set[str]] = []
        self.profiles: list[tuple[Any, ...]] = []
        self.timings: list[bytes] = []
        self.cuda = SimulatedCuda()
        self.answer: Any = lambda output: output
        self.refuses_kept = False
        self.module = Named([*self.api["tensorrt"], "__spec__"], self._names())

    def _names(self) -> SimpleNamespace:
        enums = {
            kind: Named(self.api[kind], SimpleNamespace(**{name: name for name in self.api[kind]}))
            for kind in ("BuilderFlag", "MemoryPoolType", "TensorIOMode")
        }
        creation = {name: index for index, name in enumerate(self.api["NetworkDefinitionCreationFlag"])}
        types = SimpleNamespace(FLOAT="DataType.FLOAT", UINT8="DataType.UINT8")
        return SimpleNamespace(
            __version__=self.version,
            __spec__=ModuleSpec("tensorrt", None),
            NetworkDefinitionCreationFlag=Named(self.api["NetworkDefinitionCreationFlag"], SimpleNamespace(**creation)),
            DataType=Named(self.api["DataType"], types),
            Logger=type("Logger", (), {"ERROR": "error", "__init__": lambda self, level: None}),
            Builder=lambda logger: self.named("Builder", SimulatedBuilder(self)),
            OnnxParser=lambda network, logger: self.named("OnnxParser", SimulatedParser(self, network)),
            Runtime=lambda logger: self.named("Runtime", SimulatedRuntime(self)),
            **enums,
        )

    def named(self, kind: str, target: Any) -> Named:
        return Named(self.api[kind], target)


class SimulatedBuilder:
    def __init__(self, trt: SimulatedTensorRt) -> None:
        self.trt = trt

    def create_network(self, flags: int = 0) -> Named:
        self.network = SimpleNamespace(content=b"", num_inputs=0, get_input=None)
        return self.trt.named("INetworkDefinition", self.network)

    def create_builder_config(self) -> Named:
        self.config = SimulatedConfig(self.trt)
        return self.trt.named("IBuilderConfig", self.config)

    def create_optimization_profile(self) -> Named:
        holder = SimpleNamespace(set_shape=lambda name, *sides: self.trt.profiles.append(sides))
        return self.trt.named("IOptimizationProfile", holder)

    def build_serialized_network(self, network: Named, config: Named) -> SimulatedMemory | None:
        self.trt.flags.append(self.config.flags)
        self.trt.timings.append(self.config.cache)
        return SimulatedMemory(PLAN + self.network.content)


class SimulatedConfig:
    def __init__(self, trt: SimulatedTensorRt) -> None:
        self.trt, self.flags, self.cache = trt, {"TF32"}, b""

    def set_flag(self, flag: str) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: str) -> None:
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool: str, size: int) -> None: ...

    def add_optimization_profile(self, profile: Named) -> int:
        return 0

    def create_timing_cache(self, content: bytes) -> Named:
        return self.trt.named(
            "ITimingCache", SimpleNamespace(content=content, serialize=lambda: SimulatedMemory(content + b"timed "))
        )

    def set_timing_cache(self, cache: Named, ignore_mismatch: bool) -> bool:
        if self.trt.refuses_kept and cache._target.content:
            return False
        self.attached, self.cache = cache, cache._target.content
        return True

    def get_timing_cache(self) -> Named:
        return self.attached


class SimulatedParser:
    def __init__(self, trt: SimulatedTensorRt, network: Named) -> None:
        self.trt, self.network, self.num_errors = trt, network._target, 0

    def parse(self, content: bytes) -> bool:
        try:
            feed = onnx.load_from_string(content).graph.input[0]
        except Exception:
            self.num_errors = 1
            return False
        sides = tuple(side.dim_value or -1 for side in feed.type.tensor_type.shape.dim)
        tensor = self.trt.named("ITensor", SimpleNamespace(name=feed.name, shape=sides))
        self.network.content, self.network.num_inputs = content, 1
        self.network.get_input = lambda index: tensor
        return True

    def get_error(self, index: int) -> Named:
        return self.trt.named("ParserError", SimpleNamespace(desc=lambda: "no ONNX"))


class SimulatedRuntime:
    def __init__(self, trt: SimulatedTensorRt) -> None:
        self.trt = trt

    def deserialize_cuda_engine(self, plan: bytes) -> Named | None:
        if not plan.startswith(PLAN):
            return None
        return self.trt.named("ICudaEngine", SimulatedEngine(self.trt, plan[len(PLAN) :]))


class SimulatedEngine:
    num_io_tensors = 2

    def __init__(self, trt: SimulatedTensorRt, content: bytes) -> None:
        self.trt, self.session = trt, onnxruntime.InferenceSession(content)
        self.feed, self.fetch = self.session.get_inputs()[0], self.session.get_outputs()[0]

    def get_tensor_name(self, index: int) -> str:
        return (self.feed.name, self.fetch.name)[index]

    def get_tensor_mode(self, name: str) -> str:
        return "INPUT" if name == self.feed.name else "OUTPUT"

    def get_tensor_dtype(self, name: str) -> str:
        kind = (self.feed if name == self.feed.name else self.fetch).type
        return "DataType.UINT8" if "uint8" in kind else "DataType.FLOAT"

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(side if isinstance(side, int) else -1 for side in self.feed.shape)

    def create_execution_context(self) -> Named:
        return self.trt.named("IExecutionContext", SimulatedContext(self))


class SimulatedContext:
    def __init__(self, engine: SimulatedEngine) -> None:
        self.engine, self.addresses = engine, {}

    def set_input_shape(self, name: str, sides: tuple[int, ...]) -> bool:
        most = self.engine.trt.profiles[-1][2][0] if self.engine.trt.profiles else sides[0]
        self.sides = sides
        return sides[0] <= most

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self.sides[0], *self.engine.fetch.shape[1:])

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        engine, memory = self.engine, self.engine.trt.cuda.memory
        element = np.uint8 if "uint8" in engine.feed.type else np.float32
        size = int(np.prod(self.sides)) * np.dtype(element).itemsize
        array = np.frombuffer(bytes(memory[self.addresses[engine.feed.name]][:size]), element).reshape(self.sides)
        output = engine.trt.answer(engine.session.run(None, {engine.feed.name: array})[0])
        memory[self.addresses[engine.fetch.name]][: output.nbytes] = output.tobytes()
        return True


class SimulatedCuda:
    """Device memory as bytes of this process."""

    stream = 7

    def __init__(self) -> None:
        self.memory: dict[int, bytearray] = {}
        self.device = "sm87 x8 driver 12020"

    def describe(self) -> str:
        return self.device

    def allocate(self, size: int) -> int:
        address = 4096 * (len(self.memory) + 1)
        while address in self.memory:
            address += 4096
        self.memory[address] = bytearray(size)
        return address

    def free(self, address: int) -> None:
        del self.memory[address]

    def copy_in(self, address: int, array: np.ndarray) -> None:
        self.memory[address][: array.nbytes] = array.tobytes()

    def copy_out(self, array: np.ndarray, address: int) -> None:
        array[...] = np.frombuffer(bytes(self.memory[address][: array.nbytes]), np.float32).reshape(array.shape)

    def wait(self) -> None: ...

    def close(self) -> None: ...
