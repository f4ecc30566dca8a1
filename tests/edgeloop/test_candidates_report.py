"""The page that compares candidates: every file is on it, with the numbers that were measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgeloop.artifact import Artifact, Precision
from edgeloop.audit import freeze
from edgeloop.card import DeviceProfile, EvaluationCard, GateCard, RobustnessSettings, ThresholdCard
from edgeloop.config import Config
from edgeloop.errors import BadInput
from edgeloop.measures import Candidate, EvaluationReport, GateDecision
from edgeloop.reports.candidates import call, write_candidates_report
from edgeloop.terms import Terms
from tasks.evaluate import evaluate
from tasks.report import report as report_stage
from tasks.robustness import robustness
from tasks.thresholds import thresholds
from tests.audits import colour_artifact, write_audit
from tests.edgeloop.test_gate import benchmark
from tests.edgeloop.test_reports import EVIL, Text

NAMES = ("red", "green", EVIL)
PROFILE = DeviceProfile(name="cpu", runtimes=("onnxruntime",), maximum_p99_ms=5.5)


@pytest.fixture(scope="module")
def terms(tmp_path_factory: pytest.TempPathFactory) -> Terms:
    folder = tmp_path_factory.mktemp("audits")
    sets = [freeze(name, write_audit(folder / name, 40, seed, names=NAMES)) for seed, name in enumerate(("day", "dim"))]
    return Terms(audits=tuple(sets), profile=PROFILE, card=GateCard())


@pytest.fixture(scope="module")
def candidate(terms: Terms, tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """INT8 ships at 2 ms; FP32 at 4 ms and FP16 at 4.1 ms see what they see, scaled so that they can be told apart."""
    folder = tmp_path_factory.mktemp("candidate")
    made = colour_artifact(folder / "model").model_copy(update={"names": NAMES, "card": "colours"})
    tuned = thresholds.fn(made, terms.audits, ThresholdCard(), PROFILE, folder)
    reports = evaluate.fn(tuned.tuned, terms.audits, PROFILE, folder)
    shipped = tuned.tuned.model_copy(update={"precision": "int8"})
    whole, half = (twin(shipped, letter, kind) for letter, kind in (("b", "fp32"), ("c", "fp16")))
    return Candidate(
        shipped=shipped,
        reference=whole,
        others=(half,),
        checkpoint=folder / "c.pt",
        evaluations=tuple(
            moved(one, to, part) for to, part in ((shipped, 0.9), (whole, 1.0), (half, 0.95)) for one in reports
        ),
        benchmarks=(benchmark(shipped, 2.0), benchmark(whole, 4.0), benchmark(half, 4.1)),
        thresholds=tuned,
    )


def twin(artifact: Artifact, letter: str, precision: Precision) -> Artifact:
    return artifact.model_copy(update={"sha256": letter * 64, "precision": precision})


def moved(report: EvaluationReport, to: Artifact, part: float) -> EvaluationReport:
    """The same report as if of another file that reaches `part` of its accuracy."""
    found = report.intervals["map50_95"]
    scaled = found.model_copy(update={end: getattr(found, end) * part for end in ("value", "low", "high")})
    changes = {"map50_95": report.map50_95 * part, "intervals": {**report.intervals, "map50_95": scaled}}
    return report.model_copy(update={**changes, "artifact_id": to.id, "precision": to.precision})


@pytest.fixture(scope="module")
def html(candidate: Candidate, terms: Terms, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "candidates.html"
    other = candidate.model_copy(update={"others": ()})
    return write_candidates_report(path, [candidate, other], terms, ["new", "old"]).read_text(encoding="utf-8")


def test_every_file_is_a_point_on_every_set(html: str) -> None:
    """Two candidates with five files: five points on each of two plots, each with a title that says what it is."""
    titles = re.findall(r'<g class="point"><title>(.*?)</title>', html)
    assert len(titles) == 2 * 5
    assert sum("FP16" in title for title in titles) == 2
    assert sum("over the p99 limit" in title for title in titles) == 2 * 3  # 4 ms and 4.1 ms with a p99 2 ms above
    assert all(re.search(r"p50 [\d.]+ ms, p99 [\d.]+ ms", title) for title in titles)
    assert html.count(", shipped: mAP50-95") == 4


def test_numbers_are_those_of_the_reports(html: str, candidate: Candidate) -> None:
    """Accuracy with its interval, and the loss against FP32: a tenth for INT8, a twentieth for FP16."""
    words = "".join(Text(html).words)
    for report in candidate.evaluations:
        found = report.intervals["map50_95"]
        assert f"{report.map50_95 * 100:.1f} %" in words
        assert f"{found.low * 100:.1f} % to {found.high * 100:.1f} %" in words
    assert words.count("10.0 %") >= 4
    assert words.count("5.0 %") >= 2
    assert "global 0.25" in words


def test_page_is_whole_and_escaped(html: str) -> None:
    """Nothing is loaded from elsewhere, a class named like a script is text, and pictures are few enough to mail."""
    page = Text(html)
    assert "<script" not in html
    assert EVIL in "".join(page.words)
    assert page.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert len(html) < 1_500_000


def test_best_is_within_the_limits(html: str) -> None:
    """FP32 is more accurate, and its p99 is over the device's; so INT8 is named."""
    assert "Most accurate within the limits of cpu: 3: new, INT8" in " ".join("".join(Text(html).words).split())


def test_other_frames_are_not_compared(candidate: Candidate, terms: Terms, tmp_path: Path) -> None:
    """What was measured when the set held something else is no point, and is said to be missing."""
    stale = [
        one.model_copy(update={"audit_digest": "0" * 16}) if one.audit == "dim" else one
        for one in candidate.evaluations
    ]
    old = candidate.model_copy(update={"evaluations": tuple(stale)})
    text = write_candidates_report(tmp_path / "page.html", [old], terms).read_text(encoding="utf-8")
    assert text.count('<g class="point">') == 3
    assert "not measured on these frames" in text


def test_without_any_measurement_the_page_says_so(candidate: Candidate, terms: Terms, tmp_path: Path) -> None:
    """No plot, no picture, no exception; and no candidate at all is a mistake of the caller."""
    bare = candidate.model_copy(update={"evaluations": (), "benchmarks": ()})
    text = write_candidates_report(tmp_path / "page.html", [bare], terms).read_text(encoding="utf-8")
    assert "not measured on cpu" in text
    assert "<svg" not in text
    with pytest.raises(BadInput, match="at least one candidate"):
        write_candidates_report(tmp_path / "page.html", [], terms)


def test_robustness_is_compared_on_the_same_pictures_alone(candidate: Candidate, terms: Terms, tmp_path: Path) -> None:
    """What a corruption leaves, of the candidates that saw the same; other severities and other frames are left out."""
    card = EvaluationCard(resamples=20, robustness=RobustnessSettings(corruptions=("jpeg",), severities=(1, 3)))
    suite = robustness.fn(candidate.shipped, terms.audits[0], PROFILE, tmp_path, card)
    assert suite is not None
    assert suite.rpc is not None
    milder = suite.model_copy(update={"conditions": suite.conditions[:1]})
    reports = {"new": suite, "same": suite, "milder": milder, "stale": suite.model_copy(update={"audit_digest": "0"})}
    all_of_them = [candidate.model_copy(update={"robustness": one}) for one in reports.values()]
    page = write_candidates_report(tmp_path / "page.html", all_of_them, terms, list(reports)).read_text("utf-8")
    section = page[page.index("<h2>Robustness</h2>") :].split("</section>")[0]
    assert re.findall(r'<th class="n">(\w+)</th>', section) == ["new", "same"]
    assert section.count(f"{suite.rpc.value * 100:.1f} %") >= 2
    assert "<td>jpeg</td>" in section
    assert "Robustness" not in write_candidates_report(tmp_path / "none.html", [candidate], terms).read_text("utf-8")


def test_names_tell_candidates_apart(candidate: Candidate) -> None:
    """The card where that is enough, the input side where it differs, the artifact where nothing else does."""
    small = candidate.model_copy(update={"shipped": candidate.shipped.model_copy(update={"imgsz": 32})})
    assert call([candidate]) == ["colours"]
    assert call([candidate, small]) == ["colours 64 px", "colours 32 px"]
    assert call([candidate, candidate]) == [f"colours {candidate.shipped.id[:6]}"] * 2


def test_stage_writes_both_pages_and_the_gate_s_links_to_the_other(
    candidate: Candidate, terms: Terms, tmp_path: Path
) -> None:
    """The decision names both; they lie in one folder, so that the link holds wherever the folder is copied to."""
    asked = GateDecision(artifact_id=candidate.shipped.id, champion_id=candidate.shipped.id, passed=False, rows=())
    alone = candidate.model_copy(update={"reference": candidate.shipped, "others": ()})
    said = report_stage.fn(alone, alone, asked, terms, Config(root=tmp_path))
    assert said.report is not None
    assert said.candidates is not None
    assert said.report.parent == said.candidates.parent
    links = [address for address in Text(said.report.read_text(encoding="utf-8")).addresses if ".html" in address]
    assert links == [said.candidates.name]
    words = "".join(Text(said.candidates.read_text(encoding="utf-8")).words)
    assert f"challenger colours {candidate.shipped.id[:6]}" in words
    assert f"champion colours {candidate.shipped.id[:6]}" in words
