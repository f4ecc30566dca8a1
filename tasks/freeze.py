"""Stage freeze: what a round is judged and its thresholds are corrected by: audit sets, and frames of production."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from edgeloop.audit import AuditSet, freeze
from edgeloop.card import Card, DeviceProfile
from edgeloop.config import Config
from edgeloop.dataset import DatasetVersion
from edgeloop.errors import BadInput
from edgeloop.frames import Split
from edgeloop.output import say
from edgeloop.production_frames import ProductionFrames, freeze_production
from edgeloop.terms import Terms
from tasks.stage import stage


@stage(cache=False)
def freeze_terms(
    version: DatasetVersion, card: Card, profile: DeviceProfile, config: Config, audits: Sequence[Path] | None = None
) -> Terms:
    """Freeze what candidates are judged by: audit sets, target and limits; and the production frames a card asks for.

    Production frames are drawn once for a data set version: a round that was killed goes on with the same ones.

    Args:
        version: its own audit side is one of the sets when it has frames and `audits` is None; its test side is the
            set where there is no other.
        card: its gate's limits, and how many production frames its thresholds ask for.
        profile: the target.
        config: names further audit sets, tables of what frames stand for, and the store.
        audits: labelled sets to judge by instead.

    Raises:
        BadInput: there is no audit set, one is no clean labelled set, a table of weights does not fit, or the card
            names a class that the data set does not have.
    """
    folders = config.audits if audits is None else audits
    _refuse_unknown(config, folders)
    _refuse_classes(version, card, critical=not folders)
    sets = [_freeze(Path(folder).name, config.path(folder), None, config) for folder in folders]
    if audits is None and version.frames["audit"]:
        sets.append(_freeze("audit", version.root, "audit", config))
    if not sets and version.frames["test"]:
        say("warning: judged by the test side, which nobody drew from production: its rates are not production's.")
        sets.append(_freeze("test", version.root, "test", config))
    if not sets:
        raise BadInput(
            "There is nothing to judge by: expected audit or test frames in the data set or folders under `audits:` in "
            "config.yaml. Label a random draw of production frames first."
        )
    return Terms(audits=tuple(sets), profile=profile, card=card.gate, production=_production(version, card, config))


def _freeze(name: str, folder: Path, split: Split | None, config: Config) -> AuditSet:
    """A set with the weights that the configuration gives it."""
    table = config.audit_weights.get(name)
    return freeze(name, folder, split, config.path(table) if table else None)


def _refuse_unknown(config: Config, folders: Sequence[Path]) -> None:
    """Weights under a name that no set has would silently weigh nothing."""
    known = {Path(folder).name for folder in (*config.audits, *folders)} | {"audit", "test"}
    unknown = sorted(set(config.audit_weights) - known)
    if unknown:
        raise BadInput(
            f"config.yaml has audit_weights for {unknown[0]!r}; expected the name of an audit set: "
            f"{', '.join(sorted(known))}."
        )


def _refuse_classes(version: DatasetVersion, card: Card, *, critical: bool) -> None:
    """Before a training is spent on a typo; an audit set of the user's own may know more critical classes."""
    named = dict.fromkeys(card.thresholds.classes, "thresholds: classes:")
    named |= dict.fromkeys(card.evaluation.critical if critical else (), "evaluation: critical:")
    for name in sorted(named.keys() - set(version.names)):
        raise BadInput(
            f"the card {card.name} names the class {name!r} (`{named[name]}`); expected classes of the data set: "
            f"{', '.join(version.names)}."
        )


@stage(cache=False)
def freeze_validation(version: DatasetVersion, card: Card, profile: DeviceProfile, config: Config) -> Terms:
    """Freeze the validation side to choose between candidates by: the audit sets stay unseen until one is chosen.

    Raises:
        BadInput: there is no frame on that side, it is no clean labelled set, or the card names a class that the data
            set does not have.
    """
    if not version.frames["val"]:
        raise BadInput("There is nothing to compare by: the data set has no frame on its validation side.")
    _refuse_classes(version, card, critical=True)
    audits = (freeze("val", version.root, "val"),)
    return Terms(audits=audits, profile=profile, card=card.gate, production=_production(version, card, config))


def _production(version: DatasetVersion, card: Card, config: Config) -> ProductionFrames | None:
    """The frames of this version and this question, named by both."""
    asked, store = card.thresholds.production, config.workspace.store
    if asked is None:
        return None
    question = hashlib.sha256(f"{asked.to_json()} {card.seed} {store}".encode()).hexdigest()
    path = config.workspace.artifacts / f"production-{version.md5[:12]}-{question[:8]}.json"
    return freeze_production(path, store, asked, card.seed)
