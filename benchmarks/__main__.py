"""`python -m benchmarks`: the measurements that need no data of the user's, one after the other."""

import runpy
import sys

NAMES = (
    "frame_loop", "auto_trials", "evaluation", "drift_alarms", "logging_overhead", "log_million", "ingest_images",
    "dataset_version",
)  # fmt: skip

if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    for name in NAMES:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
