"""The tiny demo as a process: what is tested is the loop, not the detector."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from edgeloop.card import Card, load_yaml

INTO_IT = {"train": 8.0, "quantize": 1.0, "infer": 0.5}  # seconds before the kill: long stages are hit in the middle
DRIFT = {"reference_frames": 120, "window_frames": 60, "minimum_frames": 60}


def settings(root: Path, folder: Path) -> Path:
    """A configuration whose card trains for a moment: what is tested is the loop, not the detector."""
    card = load_yaml(Card, root / "models" / "cards" / "sample.yaml").model_dump(mode="json", exclude_none=True)
    cards = root / "models" / "cards"
    card |= {"architecture": str(cards / card["architecture"]), "start": str((cards / card["start"]).resolve())}
    card |= {"name": "tiny", "epochs": 10, "challenger_epochs": 4, "minimum_images": 0}
    card["thresholds"]["production"] = {"frames": 100, "days": 2}  # of the drifted stream alone, in the second round
    card["evaluation"]["robustness"] = {"corruptions": ["jpeg", "darker"], "severities": [3], "frames": 20}
    (folder / "card.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    profile = yaml.safe_load((root / "models" / "devices" / "cpu.yaml").read_text(encoding="utf-8"))
    profile |= {"timed_frames": 100, "maximum_p99_ms": 1000.0}  # a busy machine must not decide this test
    profile |= {"runtimes": ["openvino"]}  # several are measured by tests/edgeloop/edge/test_benchmark.py
    (folder / "device.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    config = {"card": "card.yaml", "device": "device.yaml", "drift": DRIFT, "sampling": {"budget": 24}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder / "config.yaml"


def start(config: Path, workspace: Path, trace: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edgeloop", "demo", "--size", "tiny", "--config", config, "--workspace", workspace]
    environment = {**os.environ, "EDGELOOP_STAGE_LOG": str(trace)}
    with (workspace.parent / "demo.log").open("ab") as log:
        return subprocess.Popen(
            [str(part) for part in command], env=environment, stdout=log, stderr=log, start_new_session=True
        )


def stages(trace: Path, event: str) -> list[str]:
    lines = trace.read_text(encoding="utf-8").splitlines() if trace.is_file() else []
    return [entry["stage"] for entry in map(json.loads, lines) if entry["event"] == event]


def killed_in(config: Path, workspace: Path, wanted: set[str]) -> str | None:
    """Run until one of the wanted stages begins, and kill -9 everything in it; None when the run ended first."""
    trace = workspace.parent / f"trace-{len(wanted)}.jsonl"
    process = start(config, workspace, trace)
    while process.poll() is None:
        begun = next((name for name in stages(trace, "start") if name in wanted), None)
        if begun is not None:
            time.sleep(INTO_IT.get(begun, 0.05))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return begun
        time.sleep(0.02)
    assert process.returncode == 0, (workspace.parent / "demo.log").read_text()[-3000:]
    return None


def run_to_its_end(root: Path, folder: Path) -> Path:
    """The workspace of a run that nobody disturbed."""
    assert killed_in(settings(root, folder), folder / "ws", set()) is None
    return folder / "ws"
