"""The measurements behind the tables in benchmarks/results, one after the other.

    python -m benchmarks                                  # all that need no data of yours
    python -m benchmarks --neu-det DIR --bccd DIR --start CHECKPOINT.pt    # all
    python -m benchmarks --list                           # what there is, how long it takes, its own command
    python -m benchmarks --only sweep qat                 # some of them
    python -m benchmarks --skip ingest_images             # all but some

Each writes NAME.json and NAME.md into --out as soon as it is done, over those of an earlier run. One that fails does
not stop the others; at the end it is named, and the exit code is 1. What is missing then, or after Ctrl-C, is told as
the --only that goes on; what was trained is kept in --work. Each has options of its own: `python -m benchmarks.NAME
--help`.

NEU-DET (YOLO layout, with data.yaml) and BCCD (Pascal VOC layout) are yours to fetch, and so is the checkpoint that
both are fine-tuned from; models/cards/neu-det.yaml says which one the tables rest on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.writing import RESULTS

ROOT = Path(__file__).resolve().parents[1]
SETS = {"neu_det": "--neu-det DIR", "bccd": "--bccd DIR", "start": "--start CHECKPOINT.pt"}
BOTH = ("neu_det", "bccd", "start")


@dataclass(frozen=True)
class Benchmark:
    """One measurement.

    Attributes:
        name: of its module and of its files in the results.
        minutes: that it takes on two cores, roughly, with nothing trained before.
        needs: keys of `SETS` that it cannot do without.
        keeps: whether it takes --work.
    """

    name: str
    minutes: int
    needs: tuple[str, ...] = ()
    keeps: bool = False

    @property
    def command(self) -> str:
        return " ".join([f"python -m benchmarks.{self.name}", *(SETS[need] for need in self.needs)])

    def words(self, asked: argparse.Namespace) -> list[str]:
        """What its command line gets of what was asked."""
        given = [word for need in self.needs for word in (SETS[need].split()[0], str(getattr(asked, need).resolve()))]
        work = ["--work", str(asked.work.resolve())] if self.keeps and asked.work else []
        return [*given, *work, "--out", str(asked.out.resolve())]


BENCHMARKS = (
    Benchmark("frame_loop", 2),
    Benchmark("logging_overhead", 4),
    Benchmark("auto_trials", 5),
    Benchmark("log_million", 2),
    Benchmark("kill_loop", 5),
    Benchmark("evaluation", 5),
    Benchmark("ingest_images", 8),
    Benchmark("dataset_version", 8),
    Benchmark("soak", 11),
    Benchmark("drift_alarms", 12),
    Benchmark("sweep", 10),
    Benchmark("imbalance", 8),
    Benchmark("qat", 6, keeps=True),
    Benchmark("pruning", 6, keeps=True),
    Benchmark("int8_recipes", 55, BOTH, keeps=True),
    Benchmark("robustness", 25, BOTH, keeps=True),
    Benchmark("sizes", 35, BOTH, keeps=True),
    Benchmark("thresholds_bccd", 65, ("bccd", "start"), keeps=True),
)
NO_BENCHMARKS = {
    "ingest_images_ours": "the side of ingest_images that has a process of its own; it starts it",
    "gpu": "needs an NVIDIA GPU, and has not run to its end on one; what it gave until then is in docs/runtimes.md",
}


def main(words: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 when something of it failed."""
    parser = parser_of()
    asked = parser.parse_args(words)
    if asked.list:
        print("\n".join(f"{one.name:16} {one.minutes:3} min  {one.command}" for one in BENCHMARKS))
        return 0
    chosen = [one for one in BENCHMARKS if one.name in (asked.only or [one.name]) and one.name not in asked.skip]
    ready = []
    for one in chosen:
        missing = [SETS[need] for need in one.needs if getattr(asked, need) is None]
        if missing and asked.only:
            parser.error(f"{one.name} needs {' '.join(missing)}")
        if missing:
            say(f"left out: {one.name}, which needs {' '.join(missing)}")
        else:
            ready.append(one)
    return run(ready, asked)


def parser_of() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [one.name for one in BENCHMARKS]
    parser.add_argument("--list", action="store_true", help="say what there is and run nothing")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME")
    parser.add_argument("--skip", nargs="+", choices=names, metavar="NAME", default=[])
    parser.add_argument("--neu-det", type=Path, metavar="DIR")
    parser.add_argument("--bccd", type=Path, metavar="DIR")
    parser.add_argument("--start", type=Path, metavar="CHECKPOINT.pt", help="a .pt you trust")
    parser.add_argument("--work", type=Path, help="where what is trained is kept; var/benchmarks by default")
    parser.add_argument("--out", type=Path, default=RESULTS, help="for the results; benchmarks/results by default")
    return parser


def run(ready: Sequence[Benchmark], asked: argparse.Namespace) -> int:
    """Each in a process of its own: none inherits another's memory, threads or settings."""
    say(f"{len(ready)} measurements, about {sum(one.minutes for one in ready)} minutes on two cores")
    failed: list[str] = []
    for number, one in enumerate(ready, 1):
        say(f"[{number} of {len(ready)}] {one.name}: about {one.minutes} minutes")
        begin = time.monotonic()
        command = [sys.executable, "-m", f"benchmarks.{one.name}", *one.words(asked)]
        try:
            code = subprocess.run(command, cwd=ROOT, check=False).returncode
        except KeyboardInterrupt:
            say(f"stopped; to go on: --only {' '.join([*failed, *(other.name for other in ready[number - 1 :])])}")
            return 130
        ended = "done" if code == 0 else f"failed with exit code {code}"
        say(f"[{number} of {len(ready)}] {one.name}: {ended} after {(time.monotonic() - begin) / 60:.1f} minutes")
        failed += [one.name] * (code != 0)
    if failed:
        say(f"failed: {', '.join(failed)}; again: --only {' '.join(failed)}")
    return 1 if failed else 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
