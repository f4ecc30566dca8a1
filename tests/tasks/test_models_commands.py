"""`edgeloop models` on a real registry: what is compared, what may be promoted, and the exit code of what may not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeloop.cli import run
from edgeloop.config import load_config
from tasks.register import promote, register
from tests.registry_samples import CARD, make_candidate, make_decision, make_version

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 is the champion, 2 passed against it and is better, 3 was refused, 4 was compared with no champion."""
    root = tmp_path_factory.mktemp("registry")
    (root / "config.yaml").write_text("{}\n", encoding="utf-8")
    config, data = load_config(root / "config.yaml"), make_version(root)
    one, two, three, four = (make_candidate(root / word, word, 0.5 + 0.1 * n) for n, word in enumerate("abcd"))
    promote.fn(register.fn(one, make_decision(one), data, CARD, config), make_decision(one), config)
    for candidate, over, passed in ((two, one, True), (three, one, False), (four, None, True)):
        register.fn(candidate, make_decision(candidate, over, passed), data, CARD, config)
    return root / "config.yaml"


def answer(capsys: pytest.CaptureFixture[str], config: Path, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    capsys.readouterr()
    code = run([*words, "--config", str(config)])
    return code, *capsys.readouterr()


def test_versions_side_by_side(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Champion and challenger by default; in JSON the best of each metric is named."""
    code, out, _ = answer(capsys, config, "models", "compare", "--json")
    found = json.loads(out)
    rows = {row["metric"]: row for row in found["rows"]}
    assert (code, [one["version"] for one in found["versions"]]) == (0, [1, 4])
    assert rows["map50"] == {"metric": "map50", "values": pytest.approx([0.5, 0.8]), "best": pytest.approx(0.8)}
    assert "audit.clean/ap50.scratch" not in rows
    _, table, _ = answer(capsys, config, "models", "compare", "3", "2", "champion", "--all")
    assert "audit.clean/ap50.scratch" in table
    assert table.index("3 refused") < table.index("2 passed") < table.index("1 champion")


@pytest.mark.parametrize(
    ("version", "code", "word"),
    [("9", 2, "no version '9'"), ("3", 3, "gate refused version 3"), ("4", 3, "the champion now is")],
)
def test_what_may_not_be_promoted_says_why(
    config: Path, capsys: pytest.CaptureFixture[str], version: str, code: int, word: str
) -> None:
    """An unknown version is a mistake, exit 2; a refusal of the gate and an old comparison are refusals, exit 3."""
    said = answer(capsys, config, "models", "promote", version)
    assert (said[0], said[1]) == (code, "")
    assert word in " ".join(said[2].split())


def test_what_passed_is_promoted_and_comes_back(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The recorded decision is enough; promoted twice changes nothing; rollback returns to the one before."""
    for _ in range(2):
        code, out, _ = answer(capsys, config, "models", "promote", "2", "--json")
        assert (code, json.loads(out)["aliases"]) == (0, ["champion"])
    code, out, _ = answer(capsys, config, "models", "rollback", "--json")
    assert (code, json.loads(out)["version"]) == (0, 1)
