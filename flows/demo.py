"""Demo: the loop once, in one process. Each step is the flow or stage that the scheduled deployments run."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from edgeloop.card import load_profile
from edgeloop.config import load_config
from edgeloop.demo import DemoOptions, DemoResult, require_champion
from edgeloop.drift import DriftReport
from edgeloop.retraining import RetrainResult
from edgeloop.selection import Selection
from flows.drift import drift
from flows.ingest import ingest
from flows.label_sync import label_sync
from flows.retrain import retrain
from flows.sample import sample
from tasks.drift import decide_retrain
from tasks.infer import infer
from tasks.journal import recall, record
from tasks.labels import simulate_labels
from tasks.scene import scene
from tasks.version import current_version


@flow(name="demo", validate_parameters=False)
def demo(options: DemoOptions, config_path: Path) -> DemoResult:
    """From the first labelled frame to a champion that was retrained after an alarm.

    Args:
        options: what to run on.
        config_path: config.yaml of the demo's own workspace.
    """
    config = load_config(config_path)
    profile, place = load_profile(config.path(config.device)), scene(options, config)

    one = ingest([place.labelled], config_path=config_path)
    first = recall(config, "first", RetrainResult) or record(
        config, "first", retrain("the first detector", audits=[place.audit_clean], config_path=config_path)
    )
    artifact = require_champion(first).shipped

    clean = infer(artifact, place.stream_clean, config, profile)
    drifted = infer(artifact, place.stream_drifted, config, profile)
    calm = recall(config, "calm", DriftReport) or record(
        config, "calm", drift(until=clean.until, emit=False, config_path=config_path)
    )
    alarm = recall(config, "alarm", DriftReport) or record(
        config, "alarm", drift(drifted.since, drifted.until, emit=False, config_path=config_path)
    )
    decision = decide_retrain(alarm)
    told = DemoResult(scene=place.root, versions=(one,), first=first, calm=calm, alarm=alarm, decision=decision)
    if not decision.retrain:
        return told

    selection = recall(config, "selection", Selection) or record(
        config, "selection", sample(drifted.since, drifted.until, config_path=config_path)
    )
    simulate_labels(place.stream_drifted, config)
    two = label_sync(emit=False, config_path=config_path) or current_version(config)
    second = retrain(**decision.parameters(), audits=[place.audit_clean, place.audit_drifted], config_path=config_path)
    return told.model_copy(update={"versions": (one, two), "selection": selection, "second": second})
