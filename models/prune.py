"""Structured pruning: whole channels leave a trained detector, and what reads them shrinks with it.

Which channels belong together (a convolution's, its normalisation's, those of everything they are added to or read by)
is found by torch-pruning from a trace; of each such group the channels of the smallest L2 norm go. Source: Fang, Ma,
Song, Mi and Wang, "DepGraph: Towards Any Structural Pruning", CVPR 2023.

The detector is built from the same layer classes as before, so its checkpoint opens like any other. It no longer fits
its architecture's YAML, so training continues from the model itself (`models.tuning`).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from edgeloop.card import PruneCard
from edgeloop.errors import BadInput

ATTENTION = ("Attention", "Attn")  # in the name of a layer's class: its heads cut the channels into fixed parts


def prune(model: Any, card: PruneCard, imgsz: int) -> None:
    """Remove channels in place. The head's outputs and attention layers keep theirs.

    Args:
        model: an Ultralytics detector, in float32 on the CPU.
        card: how much, and what number of channels is a multiple of.
        imgsz: side of the square input that the trace runs on, pixels.

    Raises:
        BadInput: the architecture has a part that torch-pruning cannot follow.
    """
    import torch_pruning

    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad = True  # the trace follows gradients
    example = torch.zeros(1, 3, imgsz, imgsz)
    pairs = _take_apart(model)
    try:
        torch_pruning.BasePruner(
            model,
            example,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=card.ratio,
            round_to=card.round_to,
            ignored_layers=_kept(model, pairs),
            forward_fn=lambda detector, images: detector(images)[1],
            output_transform=_heads,
        ).step()
        _put_together(pairs)
        with torch.no_grad():
            model(example)
    except (RuntimeError, ValueError, IndexError, KeyError, AttributeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise BadInput(
            f"this architecture cannot be pruned ({reason}); choose a smaller scale of it, or a card without prune."
        ) from error


class _Pair(nn.Module):  # type: ignore[misc]  # torch is not followed
    """A convolution whose output is cut in two halves, as two convolutions.

    Blocks of the C2f family call `self.cv1(x).chunk(2, 1)` or `.split(…)`: an operation on channel numbers, which the
    trace cannot keep when channels go. Two convolutions have nothing to cut.
    """

    def __init__(self, whole: Any, width: int) -> None:
        super().__init__()
        self.first, self.second = (_part(whole, part) for part in (slice(0, width), slice(width, 2 * width)))

    def forward(self, data: Any) -> _Cut:
        return _Cut((self.first(data), self.second(data)))


class _Cut:
    """What a block of the C2f family asks for its two halves."""

    def __init__(self, halves: tuple[Any, Any]) -> None:
        self.halves = halves

    def chunk(self, *_: Any, **__: Any) -> tuple[Any, Any]:
        return self.halves

    split = chunk


def _take_apart(model: Any) -> list[Any]:
    """Cut every convolution that is cut in two in the forward pass; returns the blocks."""
    blocks = [block for block in model.modules() if _is_cut(block)]
    for block in blocks:
        block.cv1 = _Pair(block.cv1, block.c)
    return blocks


def _is_cut(block: Any) -> bool:
    width, first = getattr(block, "c", None), getattr(getattr(block, "cv1", None), "conv", None)
    return isinstance(width, int) and isinstance(first, nn.Conv2d) and first.out_channels == 2 * width


def _put_together(blocks: list[Any]) -> None:
    """Make one convolution of two again. Both halves began with as many channels and lost the same share."""
    for block in blocks:
        first, second = block.cv1.first, block.cv1.second
        if first.conv.out_channels != second.conv.out_channels:
            raise ValueError(f"halves of {first.conv.out_channels} and {second.conv.out_channels} channels")
        block.c = first.conv.out_channels
        block.cv1 = _joined(first, second)


def _part(whole: Any, part: slice) -> Any:
    """A Conv block (convolution, normalisation, activation) with some of the output channels."""
    block = copy.deepcopy(whole)
    _set_channels(block, {name: value[part] for name, value in _by_channel(whole).items()})
    return block


def _joined(first: Any, second: Any) -> Any:
    block = copy.deepcopy(first)
    others = _by_channel(second)
    _set_channels(block, {name: torch.cat([value, others[name]]) for name, value in _by_channel(first).items()})
    return block


def _by_channel(block: Any) -> dict[str, Any]:
    """What a Conv block holds for each output channel."""
    return {name: value.detach().clone() for name, value in block.state_dict().items() if value.ndim}


def _set_channels(block: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        owner, _, attribute = name.rpartition(".")
        module = block.get_submodule(owner)
        setattr(module, attribute, nn.Parameter(value) if attribute in module._parameters else value)  # noqa: SLF001
    block.conv.out_channels = block.bn.num_features = len(values["conv.weight"])


def _kept(model: Any, blocks: list[Any]) -> list[Any]:
    """Layers whose output channels stay: what the head gives, attention, and both halves of a block with attention."""
    head = model.model[-1]
    branches = [getattr(head, name, None) or () for name in ("cv2", "cv3", "one2one_cv2", "one2one_cv3")]
    outputs = [branch[-1] for branches_of_one in branches for branch in branches_of_one]
    attention = [module for module in model.modules() if _is_attention(module)]
    halves = [block.cv1 for block in blocks if any(_is_attention(module) for module in block.modules())]
    return [*outputs, head.dfl, *attention, *halves]


def _is_attention(module: Any) -> bool:
    return any(word in type(module).__name__ for word in ATTENTION)


def _heads(outputs: Any) -> list[Any]:
    """What the head's branches give before they are decoded: of an end-to-end head both."""
    found = [outputs["one2many"], outputs["one2one"]] if "one2many" in outputs else [outputs]
    return [one[name] for one in found for name in ("boxes", "scores")]
