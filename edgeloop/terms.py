"""What a candidate is judged by."""

from __future__ import annotations

from edgeloop.audit import AuditSet
from edgeloop.card import DeviceProfile, GateCard
from edgeloop.record import Record


class Terms(Record):
    """What a gate judges by: the frozen audit sets, the target and the limits."""

    audits: tuple[AuditSet, ...]
    profile: DeviceProfile
    card: GateCard
