"""Reports: self-contained, escaped, and true to what was measured."""

from __future__ import annotations

import base64
import re
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames, freeze, load
from edgeloop.boxes import Detections
from edgeloop.card import DeviceProfile, GateCard, ThresholdCard
from edgeloop.dataset import DatasetVersion
from edgeloop.demo import DemoResult
from edgeloop.drift import ColumnDrift, DriftReport, RetrainDecision, WindowDrift
from edgeloop.evidence import collect
from edgeloop.gate import decide
from edgeloop.matching import match
from edgeloop.measures import Candidate, ThresholdReport
from edgeloop.reports.curves import HEIGHT, WIDTH, plot_class, polyline
from edgeloop.reports.demo import write_demo_report
from edgeloop.reports.gate import Judged, write_gate_report
from edgeloop.reports.pictures import SIDE, find_mistakes, worst
from edgeloop.reports.rows import bars
from edgeloop.retraining import RetrainResult
from edgeloop.selection import Selected, Selection
from tasks.evaluate import evaluate
from tasks.thresholds import thresholds
from tests import scenes
from tests.audits import colour_artifact, write_audit
from tests.edgeloop.test_gate import benchmark

PROFILE = DeviceProfile(name="cpu", runtimes=("onnxruntime",))
EVIL = "<script>alert('blue')</script>"
NAMES = ("red", "green", EVIL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def audits(folder: Path) -> tuple[AuditFrames, ...]:
    frozen = freeze("clean & calm", write_audit(folder / "audit", 60, names=NAMES))
    return (load(frozen).half("score"),)


@pytest.fixture(scope="module")
def candidate(folder: Path) -> Candidate:
    artifact = colour_artifact(folder / "model").model_copy(update={"names": NAMES})
    audit = freeze("clean & calm", write_audit(folder / "again", 60, names=NAMES))
    report: ThresholdReport = thresholds.fn(artifact, (audit,), ThresholdCard(), PROFILE, folder / "out")
    return Candidate(
        shipped=report.tuned,
        reference=report.tuned,
        checkpoint=folder / "c.pt",
        evaluations=evaluate.fn(report.tuned, (audit,), PROFILE, folder / "out"),
        benchmarks=(benchmark(artifact, p50=2.0), benchmark(artifact, p50=4.0)),
        thresholds=report,
    )


@pytest.fixture(scope="module")
def html(candidate: Candidate, audits: tuple[AuditFrames, ...], folder: Path) -> str:
    evidence = collect(candidate, audits)
    decision = decide(evidence, evidence, [one.scored for one in audits], PROFILE, GateCard())
    path = write_gate_report(folder / "gate.html", Judged(candidate, candidate, decision), audits, "cpu")
    return path.read_text(encoding="utf-8")


class Text(HTMLParser):
    """The words people read, and every address the page would load from."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href", "srcset", "data")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_class_names_are_escaped(html: str) -> None:
    """A class named like a script is text: it is shown as it is, and no script is in the page."""
    assert "<script" not in html
    assert "script" not in Text(html).tags
    assert EVIL in "".join(Text(html).words)


def test_nothing_is_loaded_from_elsewhere(html: str) -> None:
    """Every picture is inside the file; there is no link, no style sheet, no font to fetch."""
    page = Text(html)
    assert page.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert not re.search(r"@import|url\(", html)


def test_every_gate_row_is_shown_with_its_reason(
    html: str, candidate: Candidate, audits: tuple[AuditFrames, ...]
) -> None:
    """Question, value, limit and reason of each row, and the verdict in words."""
    evidence = collect(candidate, audits)
    words = "".join(Text(html).words)
    for row in decide(evidence, evidence, [one.scored for one in audits], PROFILE, GateCard()).rows:
        for part in (row.check, row.value, row.limit, row.reason):
            assert part in words
    assert "Refused: the champion stays" in words


def test_numbers_are_those_of_the_reports(html: str, candidate: Candidate) -> None:
    """mAP, rates, thresholds and latencies as they were measured."""
    words = "".join(Text(html).words)
    report = candidate.evaluations[0]
    assert f"{report.map50 * 100:.1f} %" in words
    assert f"{report.map50_95 * 100:.1f} %" in words
    for score in candidate.thresholds.classes:
        assert f"{score.low:.2f} to {score.high:.2f}" in words
    assert "2.00 ms" in words


def test_a_first_artifact_has_no_champion_columns(
    candidate: Candidate, audits: tuple[AuditFrames, ...], tmp_path: Path
) -> None:
    """Without a champion the page still renders, and says so."""
    decision = decide(collect(candidate, audits), None, [one.scored for one in audits], PROFILE, GateCard())
    path = write_gate_report(tmp_path / "gate.html", Judged(candidate, None, decision), audits, "cpu")
    words = "".join(Text(path.read_text(encoding="utf-8")).words)
    assert "there is no champion yet" in words
    assert "Passed: this artifact may be promoted" in words


def test_a_page_without_any_measurement_renders(
    candidate: Candidate, audits: tuple[AuditFrames, ...], tmp_path: Path
) -> None:
    """What is missing is shown as missing; a refused candidate without numbers still gets its report."""
    bare = candidate.model_copy(update={"evaluations": (), "benchmarks": (), "thresholds": None})
    decision = decide(collect(bare, audits), None, [one.scored for one in audits], PROFILE, GateCard())
    path = write_gate_report(tmp_path / "gate.html", Judged(bare, None, decision), audits, "cpu")
    words = "".join(Text(path.read_text(encoding="utf-8")).words)
    assert "not measured" in words
    assert "Refused: nothing is promoted" in words


def test_mistakes_are_what_counting_says(candidate: Candidate, audits: tuple[AuditFrames, ...]) -> None:
    """As many pictures to draw from as there are false positives and misses in the report."""
    report = candidate.evaluations[0]
    words = _counted(candidate, audits[0])
    assert words["false"] == round(report.false_positives_per_1000_frames * report.frames / 1000)
    assert words["missed"] == round(report.missed_per_1000_frames * report.frames / 1000)
    assert words["false"] > 0


def _counted(candidate: Candidate, audit: AuditFrames) -> dict[str, int]:
    from edgeloop.predictions import load_predictions

    seen = load_predictions(candidate.evaluations[0].predictions, candidate.shipped.id, audit)
    mistakes = find_mistakes(audit, seen, NAMES, candidate.shipped.thresholds)
    return {"false": sum(not one.missed for one in mistakes), "missed": sum(one.missed for one in mistakes)}


def test_the_worst_come_first_and_say_why(audits: tuple[AuditFrames, ...]) -> None:
    """The surest ghost first; a label that no detection touched before one that was nearly shown."""
    audit = audits[0]
    frame = next(one for one in audit.frames if len(one.labels) >= 2)
    alone = AuditFrames(audit.name, audit.names, (frame,))
    near = np.array([frame.labels[0].box], np.float32)
    ghosts = np.array([[0, 0, 3, 3], [60, 60, 63, 63]], np.float32)
    kind = frame.labels[0].class_id
    seen = Detections(
        np.concatenate([ghosts, near]), np.array([0.9, 0.6, 0.2], np.float32), np.array([kind, kind, kind])
    )
    mistakes = find_mistakes(alone, [seen], NAMES, [0.5, 0.5, 0.5])
    assert [one.caption for one in worst(mistakes, 5, missed=False)] == [
        "score 0.90, nothing is labelled here",
        "score 0.60, nothing is labelled here",
    ]
    captions = [one.caption for one in worst(mistakes, 5, missed=True)]
    assert captions[0] == "not seen at any score"
    assert captions[-1] == "best score 0.20, threshold 0.50"
    assert len(worst(mistakes, 1, missed=True)) == 1


@pytest.mark.parametrize(
    ("box", "class_id", "why"),
    [
        ((100, 100, 120, 120), 1, "labelled a"),
        ((110, 100, 130, 120), 0, "misplaced, IoU 0.33"),
        ((0, 0, 10, 10), 0, "nothing is labelled here"),
    ],
)
def test_a_false_positive_says_what_it_is(tmp_path: Path, box: tuple[float, ...], class_id: int, why: str) -> None:
    """Another class, a misplaced box, or nothing there."""
    from edgeloop.matching import Truths
    from edgeloop.reports.pictures import _on_frame

    truth = Truths(np.array([[100, 100, 120, 120]], np.float32), np.array([0]))
    seen = Detections(np.array([box], np.float32), np.array([0.8], np.float32), np.array([class_id]))
    mistakes = _on_frame(tmp_path / "none.png", seen, truth, ("a", "b"), (0.5, 0.5))
    assert next(one.caption for one in mistakes if not one.missed) == f"score 0.80, {why}"


def test_a_picture_shows_the_box_in_its_surroundings(audits: tuple[AuditFrames, ...]) -> None:
    """A JPEG of the stated size with red in it, also for a box at the border of the image."""
    audit = AuditFrames("one", NAMES, audits[0].frames[:1])
    corner = Detections(np.array([[0, 0, 8, 8]], np.float32), np.array([0.9], np.float32), np.array([2]))
    picture = worst(find_mistakes(audit, [corner], NAMES, [0.5] * 3), 1, missed=False)[0]
    image = cv2.imdecode(np.frombuffer(base64.b64decode(picture.uri.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
    assert max(image.shape[:2]) == SIDE
    blue, green, red = (image[..., channel].astype(int) for channel in range(3))
    assert ((red > 150) & (green < 110) & (blue < 110)).sum() > 50


def test_the_curve_lies_on_precision_and_recall() -> None:
    """The mark at a threshold is what counting gives, and the polyline passes through the first detection."""
    matches = scenes.matches(60)
    plot = plot_class("a", 0, matches, None, {"tuned": 0.6})
    mine = matches.of_class(0)
    shown = mine.scores >= 0.6
    found, truths = mine.hits[shown, 0].sum(), matches.truths[:, 0].sum()
    assert plot.marks[0].precision == pytest.approx(found / shown.sum())
    assert plot.marks[0].recall == pytest.approx(found / truths)
    assert plot.marks[0].x == pytest.approx(found / truths * WIDTH)
    first = plot.line.split()[0].split(",")
    assert float(first[1]) == pytest.approx((1 - float(mine.hits[0, 0])) * HEIGHT, abs=0.1)


def test_a_class_without_detections_has_an_empty_curve() -> None:
    """Nothing to draw is nothing drawn."""
    truths = scenes.frames_of_truths(5)
    matches = match([Detections.empty()] * 5, truths, 4)
    assert polyline(matches, 0) == ""
    assert plot_class("a", 0, matches, matches, {"tuned": 0.5}).marks == ()


def test_bars_share_one_scale() -> None:
    """The longest bar is 100 per cent, the others in proportion, the fastest first."""
    artifact = Artifact(
        path=Path("m.onnx"), sha256="a" * 64, precision="fp32", imgsz=64, names=("a",), thresholds=(0.5,)
    )
    quick, slow = benchmark(artifact, p50=2.0), benchmark(artifact, p50=4.0)
    slow = slow.model_copy(update={"inference": slow.inference.model_copy(update={"p50": 4.0})})
    drawn = bars([slow, quick])
    assert [one.benchmark.total.p50 for one in drawn] == [2.0, 4.0]
    assert sum(width for _, _, width in drawn[1].parts) == pytest.approx(100)
    assert sum(width for _, _, width in drawn[0].parts) == pytest.approx(50)


def drift_report(name: str, ratios: list[float]) -> DriftReport:
    start = datetime(2026, 3, 1, 8, tzinfo=timezone.utc)
    windows = tuple(
        WindowDrift(
            since=start + timedelta(hours=index),
            until=start + timedelta(hours=index + 1),
            frames=200,
            reference_frames=300,
            columns=(ColumnDrift(column="brightness", value=0.1 * ratio, limit=0.1, drifted=ratio > 1),),
            drifted=ratio > 1,
        )
        for index, ratio in enumerate(ratios)
    )
    return DriftReport(
        artifact_id="a" * 12, reference_frames=300, window_frames=200, windows=windows,
        decisive=None, verdict="drift" if max(ratios) > 1 else "no-drift", reason=name,
    )  # fmt: skip


def demo_result(candidate: Candidate, audits: tuple[AuditFrames, ...], folder: Path, *, second: bool) -> DemoResult:
    evidence, scored = collect(candidate, audits), [one.scored for one in audits]
    first = decide(evidence, None, scored, PROFILE, GateCard()).model_copy(update={"report": folder / "gate-1.html"})
    again = decide(evidence, evidence, scored, PROFILE, GateCard())
    version = DatasetVersion(
        root=folder, md5="c" * 32, names=NAMES, frames={"train": 40, "val": 10, "audit": 0}, boxes={}
    )
    calm, alarm = drift_report("stays", [0.2, 0.5]), drift_report("<b>light</b> fell", [0.4, 9.0, 2.0])
    chosen = [
        Selected(frame_id=f"f{index}", stratum=stratum, score=0.5, reason="r")
        for index, stratum in enumerate(("uncertain", "uncertain", "rare", "audit"))
    ]
    rounds = {"outcome": "promoted", "dataset_md5": "c" * 32}
    return DemoResult(
        scene=folder,
        versions=(version, version) if second else (version,),
        first=RetrainResult(reason="the first detector", challenger=candidate, decision=first, **rounds),
        calm=calm,
        alarm=alarm,
        decision=RetrainDecision(retrain=second, reason="brightness left its range", artifact_id="a" * 12),
        selection=Selection(artifact_id="a" * 12, budget=4, candidates=90, frames=tuple(chosen), path=folder / "s.json")
        if second
        else None,
        second=RetrainResult(reason="drift", challenger=candidate, champion=candidate, decision=again, **rounds)
        if second
        else None,
    )


@pytest.mark.parametrize("second", [True, False])
def test_the_demo_page_tells_the_loop(
    candidate: Candidate, audits: tuple[AuditFrames, ...], tmp_path: Path, second: bool
) -> None:
    """Both rounds, both streams, the labels and the links, escaped; without an alarm it ends after the first round."""
    result = demo_result(candidate, audits, tmp_path, second=second)
    path = write_demo_report(tmp_path / "reports" / "demo.html", result, "cpu")
    html = path.read_text(encoding="utf-8")
    page = Text(html)
    words = " ".join("".join(page.words).split())
    assert "<script" not in html
    assert "<b>light</b> fell" in words
    assert page.addresses == ["../gate-1.html"]
    assert "9×" in words
    assert ("the gate kept the first champion" in words) is second
    assert ("nothing asked for retraining" in words) is not second
    assert ("4 of 90" in words) is second
    assert ("The gate, round 2" in words) is second
