"""An engine of TensorRT for RTX, for a card that is not here: TensorRT's parser and rules, and a builder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeloop.edge.tensorrt_build import _parse, _set_batch, begin_strong

rtx = pytest.importorskip("tensorrt_rtx_bindings", reason="tensorrt-rtx-cu13-bindings has no wheel for this machine")


def build(path: Path) -> bytes:
    """By the steps of `build_engine`, up to four images at a time, for compute capability 8.9."""
    logger = rtx.Logger(rtx.Logger.INTERNAL_ERROR)
    builder = rtx.Builder(logger)
    network, config = begin_strong(rtx, builder, quantized=True)
    config.num_compute_capabilities = 1
    config.set_compute_capability(rtx.ComputeCapability.SM89, 0)
    _parse(rtx.OnnxParser(network, logger), path)
    _set_batch(builder, network, config, 4)
    return bytes(builder.build_serialized_network(network, config))
