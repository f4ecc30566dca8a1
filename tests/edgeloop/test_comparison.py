"""Which registered versions are meant, and which of them is best at what."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from edgeloop.comparison import MetricRow, compare, pick, to_compare, to_judge
from edgeloop.errors import BadInput
from edgeloop.registry import ModelVersion


def version(number: int, *aliases: str, **metrics: float) -> ModelVersion:
    return ModelVersion(
        name="detector", version=number, model_id="m-1", run_id="r", artifact_id="a" * 12, precision="int8",
        dataset_md5="0" * 32, gate="passed", aliases=aliases, created=datetime.now(timezone.utc), metrics=metrics,
    )  # fmt: skip


ALL = (version(5), version(4, "challenger"), version(3, "champion"), version(2), version(1, "previous"))


def test_compare_keeps_the_order_and_the_gaps() -> None:
    """Every metric of any version is a row; a version without it has None there, and nothing is best among one."""
    found = compare([version(2, map50=0.5), version(1, map50=0.4, size_mb=3.0)])
    assert found.rows == (
        MetricRow(metric="map50", values=(0.5, 0.4), best=0.5),
        MetricRow(metric="size_mb", values=(None, 3.0)),
    )


@pytest.mark.parametrize("name", ["p50_ms", "size_mb", "loss_vs_fp32", "audit.a/false_per_1000", "audit.a/d_ece"])
def test_less_is_better_of_what_costs(name: str) -> None:
    """Milliseconds, megabytes, losses and mistakes; of accuracy more is better."""
    metrics = [{name: 2.0, "audit.a/map50": 0.5}, {name: 1.0, "audit.a/map50": 0.4}]
    rows = {row.metric: row.best for row in compare([version(1, **metrics[0]), version(2, **metrics[1])]).rows}
    assert rows == {name: 1.0, "audit.a/map50": 0.5}


def test_parts_are_asked_for() -> None:
    """The summary stands first; classes, cameras and sizes come when everything is wanted."""
    one = version(1, **{"audit.a/ap50.dent": 0.1, "audit.a/map50.camera.x": 0.2, "audit.a/map50": 0.3, "p50_ms": 1.0})
    assert [row.metric for row in compare([one]).rows] == ["p50_ms", "audit.a/map50"]
    assert len(compare([one], parts=True).rows) == 4


def test_versions_are_named_by_number_or_alias() -> None:
    """An unknown one is a mistake of the user that names what there is."""
    assert [pick(ALL, name).version for name in ("2", "v2", "champion", "previous")] == [2, 2, 3, 1]
    with pytest.raises(BadInput, match="5, 4, 3, 2, 1"):
        pick(ALL, "9")


def test_what_is_compared_when_nothing_is_named() -> None:
    """Those with an alias, oldest first; the newest three where no two have one; once each when named."""
    assert [one.version for one in to_compare(ALL, [])] == [1, 3, 4]
    bare = tuple(version(number) for number in (4, 3, 2, 1))
    assert [one.version for one in to_compare(bare, [])] == [2, 3, 4]
    assert [one.version for one in to_compare(ALL, ["5", "champion", "5"])] == [5, 3]
    with pytest.raises(BadInput, match="nothing is registered"):
        to_compare((), [])


def test_what_is_judged_when_nothing_is_named() -> None:
    """The challenger, else the newest that is not the champion; a champion is not judged against itself."""
    assert to_judge(ALL, None).version == 4
    assert to_judge(ALL, "2").version == 2
    assert to_judge((version(2, "champion"), version(1)), None).version == 1
    for versions, named in ((ALL, "champion"), ((version(1, "champion"),), None), ((), None)):
        with pytest.raises(BadInput):
            to_judge(versions, named)
