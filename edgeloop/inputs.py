"""The files that a training, a sweep or a gate rests on: all of them are read before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeloop.card import Card, DeviceProfile, load_card, load_profile
from edgeloop.config import Config
from edgeloop.dataset import load_names
from edgeloop.errors import BadInput
from edgeloop.formats.findings import printable
from edgeloop.sweep import Sweep, expand, load_sweep


def read_card(
    config: Config, card: Path | None = None, audits: Sequence[Path] | None = None
) -> tuple[Card, DeviceProfile]:
    """A card and the device profile; the audit sets are looked at, their frames are not.

    Args:
        config: names what is not given.
        card: in YAML; the configuration's when None.
        audits: labelled sets to judge by; the configuration's when None.

    Raises:
        BadInput: a file is missing or does not fit, or an audit set is no labelled set.
    """
    for folder in config.audits if audits is None else audits:
        _require_set(config.path(folder))
    return load_card(config.path(card or config.card)), load_profile(config.path(config.device))


def read_sweep(config: Config, sweep: Path | None = None, budget: float | None = None) -> tuple[Sweep, DeviceProfile]:
    """A sweep and the device profile; every card that the sweep names is looked at.

    Args:
        config: names what is not given.
        sweep: in YAML; the configuration's when None.
        budget: seconds, in place of the sweep's own.

    Raises:
        BadInput: a file is missing or does not fit.
    """
    asked = load_sweep(config.path(sweep or config.sweep), budget)
    expand(asked, frames=1)
    return asked, load_profile(config.path(config.device))


def _require_set(folder: Path) -> None:
    if not folder.is_dir():
        came = "a file" if folder.exists() else "nothing"
        raise BadInput(f"{printable(folder)}: expected the folder of a labelled set to judge by, came {came}.")
    load_names(folder)
