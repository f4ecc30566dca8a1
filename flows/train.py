"""Train: one card on the current version, exported and measured as a candidate; nothing is gated or registered."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from edgeloop.config import load_config
from edgeloop.inputs import read_card
from edgeloop.measures import Candidate
from flows.candidate import candidate
from tasks.freeze import freeze_terms, freeze_validation
from tasks.version import current_version


@flow(name="train")
def train_card(card_path: Path | None = None, config_path: Path | None = None) -> Candidate:
    """Train, export and measure one card, on the audit sets or, before there are any, on the validation side.

    Args:
        card_path: a card in YAML; the configuration's when None.
        config_path: a config.yaml; the nearest when None.
    """
    config = load_config(config_path)
    card, profile = read_card(config, card_path)
    version = current_version(config)
    audited = config.audits or version.frames["audit"]
    terms = (
        freeze_terms(version, card, profile, config) if audited else freeze_validation(version, card, profile, config)
    )
    return candidate(version, card, terms, config)
