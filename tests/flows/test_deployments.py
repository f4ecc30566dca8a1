"""prefect.yaml: every deployment can run, is scheduled as promised, and passes on what its event carries."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import jinja2.nativetypes
import pytest
import yaml
from prefect import Flow

from edgeloop.drift import RetrainDecision

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
DEPLOYMENTS = {entry["name"]: entry for entry in DOCUMENT["deployments"]}
TRIGGERS = {trigger["name"]: trigger for entry in DEPLOYMENTS.values() for trigger in entry.get("triggers", [])}


def load(entry: dict[str, Any]) -> Flow[..., Any]:
    module, name = entry["entrypoint"].split(":")
    found: Flow[..., Any] = getattr(import_module(module), name)
    return found


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_entrypoint_is_the_flow_of_that_name(name: str) -> None:
    """Every entrypoint loads, is a flow, and is called like its deployment."""
    flow = load(DEPLOYMENTS[name])
    assert isinstance(flow, Flow)
    assert flow.name == name


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_scheduled_run_needs_no_argument(name: str) -> None:
    """What the clock starts has a default for every parameter; what events start takes the parameters they pass."""
    entry, signature = DEPLOYMENTS[name], inspect.signature(load(DEPLOYMENTS[name]).fn)
    if entry.get("schedules"):
        required = [p.name for p in signature.parameters.values() if p.default is inspect.Parameter.empty]
        assert required == []
    for trigger in entry.get("triggers", []):
        assert set(trigger["parameters"]) <= set(signature.parameters)


def test_schedules_are_the_promised_ones() -> None:
    """The rhythm that README and docs promise."""
    crons = {name: [s["cron"] for s in entry.get("schedules", [])] for name, entry in DEPLOYMENTS.items()}
    assert crons == {
        "ingest": ["*/15 * * * *"], "label-sync": ["*/10 * * * *"], "drift": ["5 * * * *"],
        "sample": ["30 1 * * *"], "retrain": ["0 2 * * 1"], "sweep": [], "benchmark": [],
    }  # fmt: skip


def test_benchmark_runs_on_the_device_pool() -> None:
    """Only the benchmark goes to a device."""
    pools = {name: entry["work_pool"]["name"] for name, entry in DEPLOYMENTS.items()}
    assert {name for name, pool in pools.items() if pool == "device"} == {"benchmark"}


def test_an_alarm_during_a_retraining_waits() -> None:
    """Retrainings run one at a time and none is dropped."""
    assert DEPLOYMENTS["retrain"]["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_every_deployment_says_what_it_is_for() -> None:
    """One comment directly above each."""
    text = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^  # .+\n  - name: (.+)$", text, re.MULTILINE) == list(DEPLOYMENTS)


def render(trigger: str, payload: dict[str, Any]) -> dict[str, Any]:
    """The parameters of the run that an event starts. Native types, as Prefect keeps them."""
    environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined)
    parameters = TRIGGERS[trigger]["parameters"]
    return {k: environment.from_string(v).render(event={"payload": payload}) for k, v in parameters.items()}


def test_drift_event_carries_the_decision_into_the_flow() -> None:
    """The flow gets exactly what the decision says its parameters are."""
    decision = RetrainDecision(
        retrain=True, reason="darker", artifact_id="abc", columns=("brightness", "sharpness"), score=2.5
    )
    assert render("retrain-on-drift", decision.to_event()) == decision.parameters()


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_missing_field_still_starts_a_run(trigger: str) -> None:
    """An event that lacks a field starts a run with defaults instead of none at all."""
    assert render(trigger, {})["reason"]
