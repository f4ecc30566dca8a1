"""The agent's status as Prometheus reads it: text exposition format 0.0.4."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from edgeloop.edge.meter import BUCKETS_MS, AgentStatus, Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# field of AgentStatus: kind, help
SERIES = {
    "connected": ("gauge", "Whether frames can come; 0 while a camera is gone."),
    "frames": ("counter", "Frames detected on and logged."),
    "detections": ("counter", "Boxes that reached their thresholds."),
    "fps": ("gauge", "Frames per second of the last five seconds."),
    "dropped": ("counter", "Frames of a live source that a newer one replaced."),
    "skipped": ("counter", "Files or frames that are no usable image."),
    "errors": ("counter", "Frames that the runtime failed on."),
    "disconnects": ("counter", "How often the camera was gone."),
    "clock_steps": ("counter", "How often the device's clock was set back."),
    "rows_flushed": ("counter", "Rows of the log on the disk."),
    "rows_waiting": ("gauge", "Rows of the log in memory."),
    "rows_lost": ("counter", "Rows that the disk did not take in time."),
    "images_written": ("counter", "Images kept."),
    "images_dropped": ("counter", "Images that should have been kept and were not."),
    "images_evicted": ("counter", "Images that left the spool before they were uploaded."),
    "rows_evicted": ("counter", "Rows that left the spool before they were uploaded."),
    "flags_evicted": ("counter", "Flags that left the spool before they were uploaded."),
    "spool_files": ("gauge", "Files waiting for the store."),
    "spool_bytes": ("gauge", "Bytes waiting for the store."),
    "uploaded": ("counter", "Files uploaded."),
    "disk_free_bytes": ("gauge", "Free bytes of the device folder's file system."),
}


def exposition(status: AgentStatus, loop: Histogram) -> str:
    """The text of /metrics."""
    return "\n".join([*_info(status), *_numbers(status), *_age(status), *_histogram(loop)]) + "\n"


def _info(status: AgentStatus) -> Iterator[str]:
    labels = {"artifact": status.artifact_id, "runtime": status.runtime, "source": status.source}
    shown = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    yield from _head("info", "gauge", "What runs.")
    yield f"edgeloop_info{{{shown}}} 1"


def _numbers(status: AgentStatus) -> Iterator[str]:
    for field, (kind, meaning) in SERIES.items():
        name = f"{field}_total" if kind == "counter" else field
        yield from _head(name, kind, meaning)
        yield (
            f"edgeloop_{name} {float(getattr(status, field)):g}"
            if field == "fps"
            else (f"edgeloop_{name} {int(getattr(status, field))}")
        )
    yield from _head("problems", "gauge", "How many things are wrong right now.")
    yield f"edgeloop_problems {len(status.problems)}"


def _age(status: AgentStatus) -> Iterator[str]:
    age = 0.0 if status.spool_oldest is None else (datetime.now(timezone.utc) - status.spool_oldest).total_seconds()
    yield from _head("spool_oldest_seconds", "gauge", "Age of the oldest file that waits for the store.")
    yield f"edgeloop_spool_oldest_seconds {max(age, 0):.0f}"


def _histogram(loop: Histogram) -> Iterator[str]:
    name = "frame_seconds"
    yield from _head(name, "histogram", "Time of a frame in the loop.")
    for bound in BUCKETS_MS:
        yield f'edgeloop_{name}_bucket{{le="{bound / 1000:g}"}} {loop.at_most(bound)}'
    yield f'edgeloop_{name}_bucket{{le="+Inf"}} {loop.count}'
    yield f"edgeloop_{name}_sum {loop.sum / 1000:.6f}"
    yield f"edgeloop_{name}_count {loop.count}"


def _head(name: str, kind: str, meaning: str) -> list[str]:
    return [f"# HELP edgeloop_{name} {meaning}", f"# TYPE edgeloop_{name} {kind}"]


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
