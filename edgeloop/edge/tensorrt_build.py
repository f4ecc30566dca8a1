"""TensorRT engines from ONNX: one builder for TensorRT 8.5 to 10, one for 11, and a timing cache for both.

UNVERIFIED: no engine has been built with this code. TensorRT for RTX reads and builds this project's files
(docs/runtimes.md); TensorRT itself and a GPU were never in one place. Names and signatures are those of NVIDIA's own
bindings 8.6.1, 10.3.0 and 11.4.0, which the tests hold against a list taken from them; order and meaning of the calls
are from NVIDIA's "TensorRT Python API" and from its guide for the way from 10 to 11.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgeloop.edge.onnx_runtime import is_quantized
from edgeloop.errors import BadInput, Refused
from edgeloop.files import write_bytes

OLDEST = (8, 5)  # execute_async_v3 and uint8 inputs came with it: JetPack 5.1 and later
STRONG = 11  # from here on the file's own types count and the flags for INT8 and FP16 are gone
WORKSPACE_BYTES = 1 << 30  # a Jetson shares its memory between GPU, camera and desktop


def build_engine(path: Path, batch: int, timings: Path) -> bytes:
    """The serialized engine of an ONNX file for this GPU; takes minutes the first time.

    An INT8 file is checked against the rules for explicit quantization first: TensorRT would build an engine from a
    file that breaks them, and that engine would be slow, or wrong.

    Args:
        path: the ONNX file; only its batch may be open.
        batch: images in a call where the file leaves that open.
        timings: the timing cache, read when it is there and written after.

    Raises:
        BadInput: TensorRT is too old, or does not take the file.
        Refused: an INT8 file breaks a rule.
    """
    import tensorrt

    refuse_old(tensorrt.__version__)
    quantized = is_quantized(path)
    if quantized:
        refuse_broken_rules(path)
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    begin = begin_strong if major(tensorrt.__version__) >= STRONG else begin_weak
    network, config = begin(tensorrt, builder, quantized)
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    _parse(tensorrt.OnnxParser(network, logger), path)
    _set_batch(builder, network, config, batch)
    _recall(config, timings)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BadInput(f"TensorRT {tensorrt.__version__} built no engine from {path}; its own lines above say why.")
    _remember(config, timings)
    return bytes(plan)


def begin_weak(tensorrt: Any, builder: Any, quantized: bool) -> tuple[Any, Any]:
    """Network and configuration for TensorRT 8.5 to 10, where flags allow precisions.

    A Q/DQ file needs the INT8 flag; FP16 is allowed for what INT8 leaves in float, as the published INT8 latencies have
    it. A float32 file stays float32: TF32, which is on by default, rounds to ten bits.
    """
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    config = builder.create_builder_config()
    config.clear_flag(tensorrt.BuilderFlag.TF32)
    if quantized:
        config.set_flag(tensorrt.BuilderFlag.INT8)
        config.set_flag(tensorrt.BuilderFlag.FP16)
    return network, config


def begin_strong(tensorrt: Any, builder: Any, quantized: bool) -> tuple[Any, Any]:
    """Network and configuration for TensorRT 11, where the file's own types and its Q/DQ nodes say everything.

    What INT8 leaves in float is then float32, because it is that in the file; `quantized` changes nothing here.
    """
    del quantized
    config = builder.create_builder_config()
    config.clear_flag(tensorrt.BuilderFlag.TF32)
    return builder.create_network(), config


def refuse_broken_rules(path: Path) -> None:
    """Check an INT8 file against TensorRT's rules, `edgeloop.qdq`.

    Raises:
        BadInput: the library that reads ONNX files is missing.
        Refused: with the first violation and their number.
    """
    from edgeloop.qdq import check_qdq

    if find_spec("onnx") is None:
        raise BadInput(
            "an INT8 file is checked before an engine is built, with onnx: pip install 'edgeloop[tensorrt]'."
        )
    found = check_qdq(path, float_head=False)
    if found:
        first = found[0]
        raise Refused(
            f"{path} breaks {len(found)} of TensorRT's rules for quantized files, first {first.rule} at {first.node}: "
            f"{first.message}. Quantize it with edgeloop, or run its FP32 file."
        )


def refuse_old(version: str) -> None:
    """Refuse a TensorRT from before 8.5.

    Raises:
        BadInput: it is one.
    """
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise BadInput(f"TensorRT is {version}; expected 8.5 or later (JetPack 5.1). Choose the runtime onnxruntime.")


def major(version: str) -> int:
    """10 of "10.3.0.26"."""
    return int(version.partition(".")[0])


def _parse(parser: Any, path: Path) -> None:
    if parser.parse(path.read_bytes()):
        return
    reasons = "; ".join(str(parser.get_error(index).desc()) for index in range(parser.num_errors))
    raise BadInput(f"TensorRT does not read {path} ({reasons[:300]}); export it again.")


def _set_batch(builder: Any, network: Any, config: Any, batch: int) -> None:
    """An open batch gets a profile: from one image to `batch`, fastest at `batch`."""
    if network.num_inputs != 1:
        raise BadInput(f"expected a model with one input, came {network.num_inputs}; export a detector.")
    feed = network.get_input(0)
    first, *rest = (int(side) for side in feed.shape)
    if -1 in rest:
        raise BadInput(f"the file leaves its image size open, {(first, *rest)}; export it for one size for TensorRT.")
    if first == -1:
        profile = builder.create_optimization_profile()
        profile.set_shape(feed.name, (1, *rest), (batch, *rest), (batch, *rest))
        config.add_optimization_profile(profile)


def _recall(config: Any, timings: Path) -> None:
    """Attach what was timed before; a cache that TensorRT does not take is begun anew."""
    content = timings.read_bytes() if timings.is_file() else b""
    if not config.set_timing_cache(config.create_timing_cache(content), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _remember(config: Any, timings: Path) -> None:
    write_bytes(timings, bytes(config.get_timing_cache().serialize()))
