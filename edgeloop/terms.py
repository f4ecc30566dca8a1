"""What a candidate is judged by."""

from __future__ import annotations

from edgeloop.audit import AuditSet
from edgeloop.card import DeviceProfile, GateCard
from edgeloop.production_frames import ProductionFrames
from edgeloop.record import Record


class Terms(Record):
    """What a gate judges by: the frozen audit sets, the target and the limits; and what thresholds are corrected by.

    Attributes:
        production: the production frames that every candidate's prevalence is estimated from; None: not asked for.
    """

    audits: tuple[AuditSet, ...]
    profile: DeviceProfile
    card: GateCard
    production: ProductionFrames | None = None
