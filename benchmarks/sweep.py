"""A sweep on the sample's labelled set: who is trained how far, who goes on, what the finalists do in each precision.

    python -m benchmarks.sweep --budget 420

Generates the data, makes it a data set version in a workspace of its own below --work and runs `edgeloop sweep` there.
Stopped, it goes on where it was; --work of an earlier run gives its answer again. Writes sweep.json and a table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import yaml

from benchmarks.writing import RESULTS, keep, markdown
from edgeloop.edge.machine import machine
from edgeloop.sample import SIZES, generate
from edgeloop.sweep_tables import SweepRow, rows
from edgeloop.sweep_trials import SweepResult

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweep", type=Path, default=ROOT / "models/cards/sweeps/quick.yaml")
    parser.add_argument("--budget", type=float, default=420.0, help="seconds")
    parser.add_argument("--size", default="demo", choices=sorted(SIZES))
    parser.add_argument("--work", type=Path, default=Path("var/benchmarks/sweep"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    config = workspace(asked.work.resolve(), asked.sweep.resolve(), asked.size)
    begin = time.monotonic()
    command = ["sweep", "--config", str(config), "--budget", str(asked.budget), "--json"]
    done = subprocess.run(edgeloop(command), stdout=subprocess.PIPE, text=True, check=True)
    result = SweepResult.from_document(json.loads(done.stdout), "edgeloop sweep")
    about = {
        "machine": machine(), "budget_seconds": asked.budget, "spent_seconds": round(result.spent, 1),
        "wall_seconds": round(time.monotonic() - begin, 1), "rungs": result.rungs,
        "rows": [row.model_dump(mode="json") for row in rows(result)],
        "rung_scores": {
            trial.card.name: {str(one.epochs): one.map50_95 for one in trial.standings} for trial in result.trials
        },
    }  # fmt: skip
    keep(asked.out, "sweep", about, table(result, about))


def edgeloop(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "edgeloop", *words]


def workspace(work: Path, sweep: Path, size: str) -> Path:
    """A workspace whose data set is the sample's labelled set; returns its config.yaml."""
    config = work / "config.yaml"
    if not config.is_file():
        scene = generate(work / "scene", SIZES[size], 0)
        cards = ROOT / "models"
        document = {
            "card": str(cards / "cards/sample.yaml"), "device": str(cards / "devices/cpu.yaml"), "sweep": str(sweep),
        }  # fmt: skip
        (work / "new.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        subprocess.run(edgeloop(["ingest", str(scene.labelled), "--config", str(work / "new.yaml")]), check=True)
        (work / "new.yaml").rename(config)
    return config


def table(result: SweepResult, about: dict[str, object]) -> str:
    told = (
        f"`python -m benchmarks.sweep --budget {about['budget_seconds']:g}`; {about['machine']}. "
        f"{about['spent_seconds']} s of training and probing on a budget of {about['budget_seconds']:g} s, "
        f"{about['wall_seconds']} s with the measuring of the finalists; compared after "
        f"{', '.join(map(str, result.rungs))} epochs."
    )
    head = ("rank", "candidate", "precision", "batch", "mAP50-95, validation", "p50", "p99", "epochs", "seconds", "")
    return f"{told}\n\n{markdown(head, map(cells, rows(result)))}"


def cells(row: SweepRow) -> tuple[object, ...]:
    ending = "ships" if row.shipped else "" if row.state == "finished" else f"{row.state}: {row.reason}"
    score = "" if row.map50_95 is None else f"{row.map50_95:.1%}"
    return (
        row.rank, row.card, row.precision or "", row.batch or "", score, ms(row.p50_ms), ms(row.p99_ms), row.epochs,
        f"{row.seconds:.0f}", ending,
    )  # fmt: skip


def ms(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} ms"


if __name__ == "__main__":
    main()
