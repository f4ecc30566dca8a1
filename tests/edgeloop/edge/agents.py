"""Agents of tests: a status to show, a folder to watch."""

from __future__ import annotations

from typing import Any

from edgeloop.edge.meter import AgentStatus


def a_status(**changes: Any) -> AgentStatus:
    """An agent that does well."""
    zero = {name: 0 for name, field in AgentStatus.model_fields.items() if field.annotation in (int, float)}
    others = {
        "source": "camera0", "artifact_id": "a" * 12, "runtime": "onnxruntime", "connected": True, "truncated": False,
        "loop_p50_ms": 5.0, "loop_p99_ms": 9.0, "infer_p50_ms": 4.0, "infer_p99_ms": 8.0, "spool_oldest": None,
        "problems": (),
    }  # fmt: skip
    return AgentStatus(**{**zero, **others, **changes})
