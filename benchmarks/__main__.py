"""`python -m benchmarks`: the measurements that need no data of the user's, one after the other."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    for name in ("frame_loop", "evaluation", "drift_alarms", "logging_overhead", "log_million"):
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
