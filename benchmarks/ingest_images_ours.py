"""Our side of `benchmarks.ingest_images`, in a process of its own, so that its memory is nobody else's."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from edgeloop.frame_intake import register
from edgeloop.inspection import InspectionCache


def main() -> None:
    source, place = Path(sys.argv[1]), Path(sys.argv[2])
    begin = time.perf_counter()
    first = register(source, str(place / "store"), InspectionCache(place / "inspections", source))
    middle = time.perf_counter()
    again = register(source, str(place / "store"), InspectionCache(place / "inspections", source))
    end = time.perf_counter()
    peaks = {who: resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)}
    document = {
        "first": middle - begin,
        "again": end - middle,
        "added": first.added,
        "present_again": again.present,
        "memory_mb": round(peaks[resource.RUSAGE_SELF], 1),
        "child_memory_mb": round(peaks[resource.RUSAGE_CHILDREN], 1),
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
