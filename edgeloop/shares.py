"""Which shares of new groups the sides of the split get."""

from __future__ import annotations

from pydantic import Field, model_validator

from edgeloop.record import Record


class Shares(Record):
    """Shares of the groups that have no side yet.

    The audit side has none, because it is drawn from production. The test side has one only where somebody asks for it.
    """

    train: float = Field(default=0.8, ge=0, le=1)
    val: float = Field(default=0.2, ge=0, le=1)
    test: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> Shares:
        if abs(self.train + self.val + self.test - 1) > 1e-9:
            raise ValueError("expected shares of train, val and test that add up to 1")
        return self


DEFAULT_SHARES = Shares()
