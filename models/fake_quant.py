"""Fake quantization: convolutions that compute in float what the INT8 file will compute, and let gradients through.

A convolution is changed in place into one of another class: parameters, their names and the optimizer stay as they are,
so the moving average that Ultralytics keeps beside the model, made before, stays a plain model. That is what is
validated, saved and exported; nothing of this module is ever in a checkpoint.

Per-channel scales of the weights commute with batch normalisation, which multiplies each output channel by a constant:
quantizing the weights before it is folded stores the same integers as quantizing them after. So nothing is folded for
training; its statistics are frozen, as they are in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from edgeloop.errors import BadInput

TOP = 127  # int8's largest magnitude on both sides of 0; data may use -128 too, as QuantizeLinear does
SMALLEST = 1e-12  # scale of an output channel whose weights are all 0


class FakeQuantConv2d(nn.Conv2d):  # type: ignore[misc]  # torch is not followed
    """A convolution on rounded data and rounded weights. Source: Nagel et al., "A White Paper on Neural Network
    Quantization", 2021, section 4: gradients pass rounding as if it were not there, and stop where data is cut.

    Attributes:
        reach: magnitude of the data that becomes 127. It is fixed: what was calibrated is what ships.
    """

    reach: float

    def _conv_forward(self, data: Any, weight: Any, bias: Any) -> Any:
        stored = torch.fake_quantize_per_tensor_affine(data, self.reach / TOP, 0, -TOP - 1, TOP)
        return super()._conv_forward(stored, round_weights(weight), bias)


def round_weights(weight: Any) -> Any:
    """Weights (out, in, height, width) as int8 stores them, symmetric, one scale for each output channel."""
    scale = (weight.detach().abs().amax(dim=(1, 2, 3)) / TOP).clamp(min=SMALLEST)
    zero = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -TOP, TOP)


def insert(model: Any, ranges: Mapping[str, float]) -> None:
    """Change the named convolutions of a model in place.

    Args:
        model: a torch module.
        ranges: how far the data of each convolution reaches, by the module's name.

    Raises:
        BadInput: the model has no convolution of that name.
    """
    modules = dict(model.named_modules())
    for name, reach in ranges.items():
        module = modules.get(name)
        if not isinstance(module, nn.Conv2d):
            raise BadInput(f"the model has no convolution {name}; expected the one that the ranges were measured on.")
        module.__class__, module.reach = FakeQuantConv2d, float(reach)


def freeze_statistics(model: Any) -> None:
    """Let batch normalisation use the statistics that it has, and keep them."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
