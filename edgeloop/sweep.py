"""What a sweep asks: architectures, input sizes, precisions and batches, how far each goes, in how much time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from edgeloop.artifact import Precision
from edgeloop.card import Card, DeviceProfile, QuantizeCard, load_card, load_yaml
from edgeloop.errors import BadInput
from edgeloop.measures import BenchmarkReport
from edgeloop.record import Record


class Sweep(Record):
    """What is compared. Written as YAML; its paths are relative to the file.

    Attributes:
        name: of the parent run in MLflow.
        base: a card that says everything but the architecture: learning rate, augmentation, quantization.
        architectures: cards of which the architecture, the start and the head are taken.
        imgsz: input sides in pixels, multiples of 32.
        precisions: what a candidate may ship as; of each trained candidate all are measured.
        batches: images in a call, for the benchmark of those that are trained to their end.
        epochs: of a candidate that is trained to its end; what the base card says when None.
        rungs: how often candidates are compared, their end among them; 1 trains all of them to their end.
        eta: one in so many goes on.
        budget_seconds: for training and probing, on all devices at once; None sets no limit.
        devices: Ultralytics' device settings; as many candidates are trained at a time.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    base: Path
    architectures: tuple[Path, ...] = Field(min_length=1)
    imgsz: tuple[Annotated[int, Field(ge=32, multiple_of=32)], ...] = Field(min_length=1)
    precisions: tuple[Precision, ...] = Field(default=("fp32", "int8"), min_length=1)
    batches: tuple[int, ...] = Field(default=(1,), min_length=1)
    epochs: int | None = Field(default=None, ge=1)
    rungs: int = Field(default=3, ge=1, le=8)
    eta: int = Field(default=2, ge=2)
    budget_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    devices: tuple[str, ...] = Field(default=("cpu",), min_length=1)

    @model_validator(mode="after")
    def _says_what_can_be_done(self) -> Sweep:
        if "fp32" not in self.precisions:
            raise ValueError("expected fp32 among the precisions: every other is made from it")
        if 1 not in self.batches or min(self.batches) < 1:
            raise ValueError("expected 1 among the batches: the latency limit is asked of single frames")
        if self.rungs > 1 and any("," in device for device in self.devices):
            raise ValueError("expected one device a candidate, or rungs: 1: on several it cannot pause")
        return self


def load_sweep(path: Path, budget_seconds: float | None = None) -> Sweep:
    """Read a sweep; its paths become absolute, and a budget takes the place of its own.

    Raises:
        BadInput: the file is missing or does not fit, or the budget.
    """
    sweep = load_yaml(Sweep, path)
    changes: dict[str, object] = {
        "base": (path.parent / sweep.base).resolve(),
        "architectures": tuple((path.parent / card).resolve() for card in sweep.architectures),
    }
    if budget_seconds is not None:
        changes["budget_seconds"] = budget_seconds
    return Sweep.from_document({**sweep.model_dump(), **changes}, str(path))


def expand(sweep: Sweep, frames: int) -> tuple[Card, ...]:
    """The cards of a sweep, every architecture at every size, in this order; `frames` are on the training side.

    Raises:
        BadInput: a card is missing or does not fit, or two candidates have one name.
    """
    base = load_card(sweep.base)
    epochs = sweep.epochs or base.epochs_for(frames)
    shared = {
        "epochs": epochs, "challenger_epochs": None, "minimum_images": 0, "precisions": sweep.precisions,
        "open_batch": base.open_batch or max(sweep.batches) > 1,
    }  # fmt: skip
    cards: list[Card] = []
    for path in sweep.architectures:
        architecture = load_card(path)
        for side in sweep.imgsz:
            own = {
                "name": f"{architecture.name}-{side}", "architecture": architecture.architecture,
                "start": architecture.start, "head": architecture.head, "imgsz": side,
                "training_device": sweep.devices[len(cards) % len(sweep.devices)],
            }  # fmt: skip
            cards.append(Card.from_document({**base.model_dump(), **shared, **own}, f"the sweep {sweep.name}"))
    names = [card.name for card in cards]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise BadInput(f"the sweep {sweep.name} has two candidates {twice}; give the cards names of their own.")
    return tuple(cards)


def rung_epochs(epochs: int, rungs: int, eta: int) -> tuple[int, ...]:
    """After how many epochs candidates are compared: `epochs` last, each other an `eta`-th of the next, at least 1."""
    return tuple(sorted({max(epochs // eta**back, 1) for back in range(rungs)}))


def within(runs: Sequence[BenchmarkReport], profile: DeviceProfile) -> bool:
    """Whether a device answers a single frame in time in its fastest runtime."""
    return min(runs, key=lambda one: one.total.p50).total.p99 <= profile.maximum_p99_ms if runs else False


def probing(profile: DeviceProfile) -> DeviceProfile:
    """The profile for a short look at the latency: as many frames as a benchmark needs at least."""
    return profile.model_copy(update={"timed_frames": 100})


def probing_card(card: Card) -> Card:
    """The card with an INT8 that is made in seconds: nothing is searched, since only its latency is looked at."""
    return card.model_copy(update={"quantize": QuantizeCard(frames=min(card.quantize.frames, 32))})
