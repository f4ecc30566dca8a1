"""The cache policy of stages, and stages in real flows against a private server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect import flow
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore

from edgeloop.config import Config
from edgeloop.errors import BadInput
from edgeloop.record import Record
from tasks.ephemeral import ephemeral
from tasks.stage import StageCache, code_fingerprint, stage, stage_key


class Made(Record):
    """What the stages below return."""

    path: Path
    parts: tuple[Path, ...] = ()
    note: str = ""


runs: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    runs.clear()


@stage
def make(folder: Path, name: str) -> Made:
    runs.append(name)
    path = folder / name
    path.write_text(name)
    return Made(path=path)


@stage(cache=False)
def look(made: Made) -> str:
    runs.append("look")
    return made.path.read_text()


@stage(reads=("source",))
def count(source: Path) -> int:
    runs.append("count")
    return len(list(source.iterdir()))


@stage(retries=1)
def stumble(marker: Path) -> str:
    runs.append("stumble")
    if marker.exists():
        return "up again"
    marker.touch()
    raise BadInput("expected a marker, came none, try again.")


@stage
def refuse(word: str) -> str:
    raise BadInput(f"expected another word, came {word}, say something else.")


class TestKey:
    def test_work_stays_callable_without_prefect(self, tmp_path: Path) -> None:
        """`.fn` is the undecorated function."""
        assert make.fn(tmp_path, "a").path.read_text() == "a"

    @settings(max_examples=30)
    @given(st.text(max_size=5), st.text(max_size=5), st.integers(0, 3), st.integers(0, 3))
    def test_equal_inputs_equal_keys(self, a: str, b: str, x: int, y: int) -> None:
        """Two calls have one key exactly when every input is equal, records compared by their content."""
        one = stage_key("train", {"record": Made(path=Path("/f"), note=a), "number": x})
        two = stage_key("train", {"record": Made(path=Path("/f"), note=b), "number": y})
        assert (one == two) == ((a, x) == (b, y))

    def test_name_of_stage_is_part_of_key(self) -> None:
        """Two stages with the same inputs never share a result; the name is readable in the key."""
        assert stage_key("train", {}) != stage_key("export", {})
        assert stage_key("train", {}).startswith("train-")

    def test_configuration_is_an_input(self, tmp_path: Path) -> None:
        """A changed setting makes another key."""
        one = Config(root=tmp_path)
        assert stage_key("s", {"config": one}) == stage_key("s", {"config": Config(root=tmp_path)})
        assert stage_key("s", {"config": one}) != stage_key("s", {"config": Config(root=tmp_path, device="jetson")})

    def test_input_without_json_form_is_an_error(self) -> None:
        """An array or a model as input is a mistake that is reported, not hashed by chance."""
        with pytest.raises(Exception, match="serialize"):
            stage_key("s", {"model": object()})

    def test_reads_counts_files_in_folder(self, tmp_path: Path) -> None:
        """An input named in `reads` counts with what lies in it; any other path counts by name alone."""
        before = stage_key("s", {"source": tmp_path}, ("source",)), stage_key("s", {"source": tmp_path})
        (tmp_path / "new").write_text("x")
        after = stage_key("s", {"source": tmp_path}, ("source",)), stage_key("s", {"source": tmp_path})
        assert before[0] != after[0]
        assert before[1] == after[1]

    def test_reads_finds_paths_inside_records(self, tmp_path: Path) -> None:
        """`reads` reaches the files that a record names, such as the checkpoint a card starts from."""
        file = tmp_path / "checkpoint"
        file.write_text("one")
        inputs = {"card": Made(path=file)}
        before = stage_key("s", inputs, ("card",))
        file.write_text("three")
        assert stage_key("s", inputs, ("card",)) != before

    def test_code_fingerprint_sees_every_layer(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A change in any file of a code folder, or of the locked environment, makes every key new."""
        monkeypatch.setattr("tasks.stage.ROOT", tmp_path)
        seen = set()
        for name in ("edgeloop/boxes.py", "models/cards/a.yaml", "tasks/train.py", "uv.lock", "flows/demo.py"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("changed")
            code_fingerprint.cache_clear()
            seen.add(code_fingerprint())
        code_fingerprint.cache_clear()
        assert len(seen) == 4  # flows/ say order alone; what they hand over is among the inputs


class TestReuse:
    """`StageCache` on a real result store."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> ResultStore:
        return ResultStore(result_storage=LocalFileSystem(basepath=str(tmp_path / "results")))

    def key(self, store: ResultStore, policy: StageCache | None = None) -> str | None:
        run = SimpleNamespace(task=make, task_run=SimpleNamespace(id="run"), result_store=store)
        found: Any = (policy or StageCache()).compute_key(run, {"name": "a"}, {})  # type: ignore[arg-type]
        return found

    def test_whole_result_is_kept(self, store: ResultStore, tmp_path: Path) -> None:
        """A result whose files are there stays usable."""
        key = self.key(store)
        store.write(Made(path=tmp_path, parts=(tmp_path,)), key=key)
        assert self.key(store) == key
        assert store.exists(key)

    def test_result_with_missing_file_is_dropped(self, store: ResultStore, tmp_path: Path) -> None:
        """A result is not used when any file that it names is gone, however deep it stands."""
        key = self.key(store)
        store.write([{"made": Made(path=tmp_path, parts=(tmp_path, tmp_path / "gone"))}], key=key)
        assert self.key(store) == key
        assert not store.exists(key)

    def test_truncated_result_is_no_result(self, store: ResultStore, tmp_path: Path) -> None:
        """A result cut off by a kill while it was written counts as none."""
        key = self.key(store)
        store.write(Made(path=tmp_path), key=key)
        file = tmp_path / "results" / str(key)
        file.write_bytes(file.read_bytes()[:-20])
        assert self.key(store) == key
        assert not store.exists(key)

    def test_uncached_stage_has_no_key(self, store: ResultStore) -> None:
        """`cache=False` never reuses."""
        assert self.key(store, StageCache(cache=False)) is None


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Config]:
    """A workspace with a private server, for every flow of this file."""
    config = Config(root=tmp_path_factory.mktemp("workspace"))
    with ephemeral(config):
        yield config


@pytest.mark.integration
class TestFlow:
    """Real flows."""

    def test_finished_stage_is_reused_by_next_run(
        self, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another run of the flow reuses what is finished; a stage with `cache=False` runs every time."""
        monkeypatch.setenv("EDGELOOP_STAGE_LOG", str(tmp_path / "trace"))

        @flow
        def twice() -> str:
            return look(make(tmp_path, "once"))

        assert [twice(), twice()] == ["once", "once"]
        assert runs == ["once", "look", "look"]
        trace = [json.loads(line) for line in (tmp_path / "trace").read_text().splitlines()]
        assert [(line["stage"], line["event"]) for line in trace] == [
            ("make", "start"), ("make", "end"), ("look", "start"), ("look", "end"),
            ("make", "reused"), ("look", "start"), ("look", "end"),
        ]  # fmt: skip
        assert {line["pid"] for line in trace} == {os.getpid()}

    def test_stage_runs_again_when_its_file_is_gone(self, config: Config, tmp_path: Path) -> None:
        """Deleting an output is enough to have it made again."""

        @flow
        def once() -> Made:
            return make(tmp_path, "lost")

        once().path.unlink()
        assert once().path.read_text() == "lost"
        assert runs == ["lost", "lost"]

    def test_changed_source_is_read_again(self, config: Config, tmp_path: Path) -> None:
        """A folder named in `reads` is looked at again when a file was added, and only then."""

        @flow
        def once() -> int:
            return count(tmp_path)

        assert [once(), once()] == [0, 0]
        (tmp_path / "file").touch()
        assert once() == 1
        assert runs == ["count", "count"]

    def test_retries(self, config: Config, tmp_path: Path) -> None:
        """A stage with retries is tried again and its outcome is kept."""

        @flow
        def once() -> str:
            return stumble(tmp_path / "marker")

        assert once() == "up again"
        assert runs == ["stumble", "stumble"]

    def test_error_reaches_the_caller_unchanged_and_quietly(
        self, config: Config, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Bad input in a stage is the caller's exception; nothing but the stage lines is printed on the way."""

        @flow
        def once() -> str:
            return refuse("nothing")

        with pytest.raises(BadInput, match="came nothing"):
            once()
        printed = capfd.readouterr()
        assert printed.out == ""
        assert [line.split(" after")[0] for line in printed.err.splitlines()] == [
            "stage refuse …",
            "stage refuse … failed",
        ]

    def test_results_and_database_stay_inside_var(self, config: Config, tmp_path: Path) -> None:
        """Everything that a run leaves lies under var/."""

        @flow
        def once() -> Made:
            return make(tmp_path, "inside")

        once()
        assert list((config.workspace.var / "results").glob("make-*"))
        assert (config.workspace.var / "prefect" / "prefect.db").is_file()

    def test_server_listens_on_loopback_alone(self, config: Config) -> None:
        """The private server is reachable from this machine only."""
        home = str(config.workspace.var / "prefect")
        living = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
        (server,) = [child for child in living if child.environ().get("PREFECT_HOME") == home]
        assert {connection.laddr.ip for connection in server.net_connections() if connection.status == "LISTEN"} == {
            "127.0.0.1"
        }


PROGRAM = """
import sys, time
from pathlib import Path
from prefect import flow
from edgeloop.config import Config
from tasks.ephemeral import ephemeral
from tasks.stage import stage

@stage
def first(n: int) -> int:
    return n

@stage
def second(n: int, patience: Path) -> int:
    while patience.exists():
        time.sleep(0.05)
    return n + 1

@flow
def both() -> int:
    return second(first(1), Path(sys.argv[2]))

with ephemeral(Config(root=Path(sys.argv[1]))):
    print(both())
"""


@pytest.mark.integration
@pytest.mark.parametrize("wish", [signal.SIGKILL, signal.SIGINT])
def test_stopped_run_leaves_no_server_and_continues(wish: signal.Signals, tmp_path: Path, root: Path) -> None:
    """After kill -9 or Ctrl-C in a stage no process is left, and the next run reuses what was finished."""
    patience, trace, code = tmp_path / "patience", tmp_path / "trace", tmp_path / "code"
    patience.touch()
    for layer in ("edgeloop", "tasks"):  # a copy: an edit during the test would rightly make every key new
        shutil.copytree(root / layer, code / layer)
    environment = {**os.environ, "EDGELOOP_STAGE_LOG": str(trace), "PYTHONPATH": str(code)}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "workspace"), str(patience)]
    run = subprocess.Popen(command, env=environment, cwd=code, start_new_session=True, stderr=subprocess.DEVNULL)
    while events(trace)[-1:] != [("second", "start")]:
        assert run.poll() is None
        time.sleep(0.05)
    (server,) = psutil.Process(run.pid).children()
    os.killpg(run.pid, wish)
    run.wait(timeout=10)
    server.wait(timeout=10)

    patience.unlink()
    again = subprocess.run(command, env=environment, cwd=code, capture_output=True, text=True, check=True)
    assert again.stdout == "2\n"
    assert events(trace)[-3:] == [("first", "reused"), ("second", "start"), ("second", "end")]


def events(trace: Path) -> list[tuple[str, str]]:
    """Stage and event of each line of a trace."""
    lines = trace.read_text().splitlines() if trace.exists() else []
    return [(line["stage"], line["event"]) for line in map(json.loads, lines)]
