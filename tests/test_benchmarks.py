"""One command reproduces each table: the suite knows every benchmark, and every table names its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks import __main__ as suite
from benchmarks.__main__ import BENCHMARKS, NO_BENCHMARKS, RESULTS, Benchmark

NAMES = {one.name for one in BENCHMARKS}


def modules_with_a_main() -> set[str]:
    files = [path for path in RESULTS.parent.glob("*.py") if path.stem != "__main__"]
    return {path.stem for path in files if "main" in functions(path)}


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_every_benchmark_is_known() -> None:
    """A new benchmark that nobody lists would never be run again."""
    assert modules_with_a_main() == NAMES | set(NO_BENCHMARKS)
    assert not NAMES & set(NO_BENCHMARKS)


@pytest.mark.parametrize("kind", ["json", "md"])
def test_every_result_has_its_benchmark_and_every_benchmark_its_result(kind: str) -> None:
    assert {path.stem for path in RESULTS.glob(f"*.{kind}")} == NAMES
    assert {path.suffix for path in RESULTS.iterdir()} == {".json", ".md", ".svg"}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_table_says_its_command_and_the_code_writes_it(name: str) -> None:
    """In its first lines, so that a reader of a figure knows how to get it."""
    head = (RESULTS / f"{name}.md").read_text().splitlines()[:3]
    assert any(f"`python -m benchmarks.{name}" in line for line in head)
    source = (RESULTS.parent / f"{name}.py").read_text()
    assert f"python -m benchmarks.{name}" in source.split('"""', 2)[2] or f"command('{name}'" in source


def test_list_names_a_command_for_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert suite.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split("benchmarks.")[1].split()[0] for line in lines} == NAMES


@pytest.mark.parametrize("one", BENCHMARKS, ids=lambda one: one.name)
def test_benchmark_takes_what_the_suite_gives_it(one: Benchmark) -> None:
    source = (RESULTS.parent / f"{one.name}.py").read_text()
    shared = (RESULTS.parent / "int8_sets.py").read_text() if "ask_for_sets(" in source else ""
    words = ["--out", *(suite.SETS[need].split()[0] for need in one.needs), *["--work"] * one.keeps]
    assert all(f'"{word}"' in source + shared for word in words)


def test_one_that_fails_stops_no_other_and_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second is a module that runs and does nothing; the first is none."""
    monkeypatch.setattr(suite, "BENCHMARKS", (Benchmark("is_not_there", 1), Benchmark("__init__", 1)))
    assert suite.main(["--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert "[2 of 2] __init__: done" in said[-2]
    assert said[-1] == "failed: is_not_there; again: --only is_not_there"


def test_what_needs_data_is_left_out_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suite, "BENCHMARKS", (Benchmark("robustness", 1, suite.BOTH),))
    assert suite.main(["--bccd", str(tmp_path)]) == 0
    assert "robustness, which needs --neu-det DIR --start CHECKPOINT.pt" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        suite.main(["--only", "robustness"])
    assert ended.value.code == 2
