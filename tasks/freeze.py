"""Stage freeze: the audit sets that a round is judged by, as they are now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeloop.audit import freeze
from edgeloop.card import Card, DeviceProfile
from edgeloop.config import Config
from edgeloop.dataset import DatasetVersion
from edgeloop.errors import BadInput
from edgeloop.output import say
from edgeloop.terms import Terms
from tasks.stage import stage


@stage(cache=False)
def freeze_terms(
    version: DatasetVersion, card: Card, profile: DeviceProfile, config: Config, audits: Sequence[Path] | None = None
) -> Terms:
    """Freeze what candidates are judged by: audit sets, target and limits.

    Args:
        version: its own audit side is one of the sets when it has frames and `audits` is None; its test side is the
            set where there is no other.
        card: its gate's limits.
        profile: the target.
        config: names further audit sets.
        audits: labelled sets to judge by instead.

    Raises:
        BadInput: there is no audit set, or one is no clean labelled set.
    """
    folders = config.audits if audits is None else audits
    sets = [freeze(Path(folder).name, config.path(folder)) for folder in folders]
    if audits is None and version.frames["audit"]:
        sets.append(freeze("audit", version.root, "audit"))
    if not sets and version.frames["test"]:
        say("warning: judged by the test side, which nobody drew from production: its rates are not production's.")
        sets.append(freeze("test", version.root, "test"))
    if not sets:
        raise BadInput(
            "There is nothing to judge by: expected audit or test frames in the data set or folders under `audits:` in "
            "config.yaml. Label a random draw of production frames first."
        )
    return Terms(audits=tuple(sets), profile=profile, card=card.gate)


@stage(cache=False)
def freeze_validation(version: DatasetVersion, card: Card, profile: DeviceProfile) -> Terms:
    """Freeze the validation side to choose between candidates by: the audit sets stay unseen until one is chosen.

    Raises:
        BadInput: there is no frame on that side, or it is no clean labelled set.
    """
    if not version.frames["val"]:
        raise BadInput("There is nothing to compare by: the data set has no frame on its validation side.")
    return Terms(audits=(freeze("val", version.root, "val"),), profile=profile, card=card.gate)
