"""The commands that look at versions: every answer as one JSON document, every mistake as one sentence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edgeloop.config import Config
from edgeloop.dataset import merge
from edgeloop.errors import BadInput
from edgeloop.formats import read
from flows.cli import app
from tasks.version import commit_version
from tests.training_sets import write_set

NAMES = ("dark", "light")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions: two frames, then five."""
    root: Path = tmp_path_factory.mktemp("workspace")
    config = Config(root=root)
    (root / "config.yaml").write_text("{}\n")
    frames = read(write_set(root / "source", train=5, val=0).parent).frames
    for count in (2, 5):
        merge(config.workspace.data, frames[:count], NAMES)
        commit_version.fn(config)
    return root


def answer(workspace: Path, *words: str) -> Any:
    ran = CliRunner().invoke(
        app, [*words, "--config", str(workspace / "config.yaml"), "--json"], catch_exceptions=False
    )
    assert ran.exit_code == 0
    return json.loads(ran.stdout)


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_show_lists_the_newest_first(workspace: Path) -> None:
    """The newest version comes first and is the current one; each says what it is made of."""
    newest, oldest = answer(workspace, "dataset", "show")
    assert (newest["current"], oldest["current"]) == (True, False)
    assert [sum(one["version"]["frames"].values()) for one in (newest, oldest)] == [5, 2]
    assert sum(newest["version"]["cameras"]["unknown"].values()) == 5
    assert sum(newest["version"]["sources"]["yolo:source"].values()) == 5


def test_diff_counts(workspace: Path) -> None:
    """Three frames and their boxes came, nothing else changed."""
    found = answer(workspace, "dataset", "diff", "previous", "current")
    assert sum(map(len, found["added"].values())) == 3
    assert (found["relabelled"], found["moved"]) == ([], [])
    assert {one["name"]: one["after"] - one["before"] for one in found["boxes"]} == {"dark": 2, "light": 1}
    assert answer(workspace, "dataset", "diff") == found


def test_checkout_is_reproducible(workspace: Path, tmp_path: Path) -> None:
    """A version laid out twice has the same bytes, and data/ is left as it is."""
    before = contents(workspace / "data")
    md5 = answer(workspace, "dataset", "show")[1]["version"]["md5"]
    for name, folder in (("previous", "one"), (md5[:8], "other")):
        assert answer(workspace, "dataset", "checkout", name, "--out", str(tmp_path / folder))["md5"] == md5
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
    assert len(contents(tmp_path / "one")) == 2 * 2 + 2
    assert contents(workspace / "data") == before


def test_people_get_tables(workspace: Path) -> None:
    """Without --json the same is a table with every version and what changed."""
    for words, said in ((("show",), "newest first"), (("diff",), "relabelled")):
        ran = CliRunner().invoke(app, ["dataset", *words, "--config", str(workspace / "config.yaml")])
        assert ran.exit_code == 0
        assert said in ran.stdout


def test_an_unknown_version_is_one_sentence(workspace: Path) -> None:
    """What names no version is refused, and says what would."""
    with pytest.raises(BadInput, match="expected a version: current, previous"):
        answer(workspace, "dataset", "diff", "yesterday")
