"""Versions against a real DVC and a real remote on this disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.config import Config
from edgeloop.dataset import load_labels, merge, state_of
from edgeloop.errors import BadInput
from edgeloop.files import sha256
from edgeloop.formats import read, yolo
from edgeloop.frames import Label
from edgeloop.versions import find
from tasks import version as door
from tasks.version import checkout_version, commit_version, compare_versions, current_version, list_versions

NAMES = ("scratch", "dent")
IGNORED = "/data/\n/var/\n/.data.lock\n"


def grow(config: Config, source: Path, count: int) -> str:
    """Merge `count` frames into the workspace's data set; returns its state."""
    for part in ("images", "labels"):
        (source / part).mkdir(parents=True, exist_ok=True)
    (source / "data.yaml").write_text(yolo.yaml_text(NAMES, []))
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), np.uint8)
        image = source / f"images/cam_20260301T0815{number:02d}.000Z.png"
        cv2.imwrite(str(image), pixels)
        (source / f"labels/{image.stem}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    return merge(config.workspace.data, read(source).frames, NAMES).state


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file by its path."""
    return {str(path.relative_to(folder)): sha256(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(root=tmp_path / "ws")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A workspace at the top of a git checkout; git knows of no user."""
    monkeypatch.setenv("HOME", "/nonexistent")
    config = Config(root=tmp_path / "top")
    config.root.mkdir()
    (config.root / ".gitignore").write_text(IGNORED)
    git(config.root, "init", "-q")
    return config


@pytest.fixture
def committer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git knows who commits."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@b")


def test_old_versions_come_back_byte_for_byte(config: Config, tmp_path: Path) -> None:
    """After a second version the first is still there: as snapshot, from the cache, and from the remote alone."""
    grow(config, tmp_path / "source", 4)
    first = commit_version.fn(config)
    before = contents(config.workspace.data)
    grow(config, tmp_path / "source", 7)
    relabelled = replace(load_labels(config.workspace.data)[0], labels=(Label(1, (1.0, 1.0, 9.0, 9.0)),), labeler="ann")
    merge(config.workspace.data, [relabelled], NAMES)
    second = commit_version.fn(config)
    assert first.md5 != second.md5
    assert (sum(first.frames.values()), sum(second.frames.values())) == (4, 7)
    assert contents(first.root) == before
    assert contents(second.root) == contents(config.workspace.data)
    assert contents(checkout_version(config, first.md5, tmp_path / "from cache").root) == before
    shutil.rmtree(config.workspace.var / "dvc-cache")
    assert contents(checkout_version(config, f"{first.md5}.dir", tmp_path / "from remote").root) == before
    listed = list_versions(config)
    assert [(one.version.md5, one.current) for one in listed] == [(second.md5, True), (first.md5, False)]
    assert contents(listed[1].version.root) == before


def test_same_content_same_version(config: Config, tmp_path: Path) -> None:
    """Committing again makes nothing new; a state that data/ has left is answered with the version made of it."""
    state = grow(config, tmp_path / "source", 3)
    first = commit_version.fn(config, state)
    assert commit_version.fn(config, state) == first == current_version(config)
    grow(config, tmp_path / "source", 5)
    assert commit_version.fn(config, state) == first
    with pytest.raises(BadInput, match="of which no version was made"):
        commit_version.fn(config, "f" * 64)


def test_snapshots_share_nothing_with_the_cache(config: Config, tmp_path: Path) -> None:
    """Root may write into a snapshot, and no other copy of the version changes: there are no links of any kind."""
    grow(config, tmp_path / "source", 3)
    version = commit_version.fn(config)
    before = contents(version.root)
    files = [path for path in version.root.rglob("*") if path.is_file()]
    assert all(path.stat().st_nlink == 1 and not path.is_symlink() for path in files)
    for path in files:
        path.chmod(0o644)
        path.write_bytes(b"spoilt")
    assert contents(checkout_version(config, version.md5, tmp_path / "again").root) == before
    assert contents(config.workspace.data) == before


def test_snapshots_share_what_is_equal(config: Config, tmp_path: Path) -> None:
    """Of a snapshot only what is new is copied; a file of the older one that was written into is not taken over."""
    grow(config, tmp_path / "source", 4)
    first = commit_version.fn(config)
    spoilt = sorted((first.root / "images").rglob("*.png"))[0]
    spoilt.chmod(0o644)
    spoilt.write_bytes(b"spoilt")
    grow(config, tmp_path / "source", 6)
    second = commit_version.fn(config)
    assert contents(second.root) == contents(config.workspace.data)
    old, new = (
        {path.relative_to(root): path.stat() for path in root.rglob("*.*")} for root in (first.root, second.root)
    )
    shared = {path for path in old if path in new and old[path].st_ino == new[path].st_ino}
    assert len(shared) == 4 * 2  # images, labels and data.yaml, without the spoilt image
    assert {path.stat().st_mode & 0o777 for path in second.root.rglob("*.*")} == {0o444}


def test_a_snapshot_needs_no_older_one(config: Config, tmp_path: Path) -> None:
    """With DVC's cache emptied and an older snapshot there, a version is still laid out, from the remote."""
    grow(config, tmp_path / "source", 3)
    commit_version.fn(config)
    grow(config, tmp_path / "source", 5)
    second = commit_version.fn(config)
    before = contents(second.root)
    shutil.rmtree(second.root)
    shutil.rmtree(config.workspace.var / "dvc-cache")
    assert contents(current_version(config).root) == before


def test_a_lost_snapshot_is_laid_out_again(config: Config, tmp_path: Path) -> None:
    """The current version's snapshot is a copy that may be deleted."""
    grow(config, tmp_path / "source", 3)
    version = commit_version.fn(config)
    before = contents(version.root)
    shutil.rmtree(config.workspace.snapshots)
    assert contents(current_version(config).root) == before


def test_what_changed_between_versions(config: Config, tmp_path: Path) -> None:
    """New frames by side, changed labels with who answered, and boxes of each class before and after."""
    grow(config, tmp_path / "source", 4)
    first = commit_version.fn(config)
    grow(config, tmp_path / "source", 6)
    one = load_labels(config.workspace.data)[0]
    labels = (*one.labels, Label(1, (1.0, 1.0, 9.0, 9.0)))
    merge(config.workspace.data, [replace(one, labels=labels, labeler="ann", source="queue:rare")], NAMES)
    second = commit_version.fn(config)
    found = compare_versions(config, "previous", "current")
    assert (found.before, found.after) == (first.md5, second.md5)
    assert sum(len(ids) for ids in found.added.values()) == 2
    assert not any(found.removed.values())
    assert found.moved == ()
    (relabelled,) = found.relabelled
    assert (relabelled.frame_id, relabelled.labelers, relabelled.boxes) == (
        one.frame.frame_id,
        ("import", "ann"),
        (1, 2),
    )
    assert [(one.name, one.before, one.after) for one in found.boxes] == [("scratch", 4, 6), ("dent", 0, 1)]
    assert ("queue:rare", 0, 1) in {(one.name, one.before, one.after) for one in found.sources}
    back = compare_versions(config, second.md5, first.md5)
    assert back.removed == found.added
    assert compare_versions(config, "current", second.md5[:6]).is_empty


def test_what_versions_are_called(checkout: Config, tmp_path: Path) -> None:
    """Current, previous, the first digits of the md5 and a git revision of data.dvc name a version, else nothing."""
    config = checkout
    grow(config, tmp_path / "source", 3)
    first = commit_version.fn(config)
    with pytest.raises(BadInput, match="no version was made before"):
        find(config.workspace, "previous")
    git(config.root, "add", "data.dvc")
    git(config.root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
    git(config.root, "tag", "v1")
    grow(config, tmp_path / "source", 5)
    second = commit_version.fn(config)
    names = {"current": second, "previous": first, first.md5[:4]: first, f"{second.md5}.dir": second, "v1": first}
    names |= {"HEAD": first}
    assert {name: find(config.workspace, name) for name in names} == {name: one.md5 for name, one in names.items()}
    for name in ("v2", "--help", first.md5[:3], "f" * 31, "HEAD~7", "", "../x"):
        with pytest.raises(BadInput, match="expected a version: current, previous, 4 or more digits"):
            find(config.workspace, name)


def git(folder: Path, *arguments: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_an_outer_repository_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace below the top of a git and DVC checkout is its own repository; the outer ones do not notice."""
    monkeypatch.setenv("HOME", "/nonexistent")
    outer = tmp_path / "outer"
    (outer / ".dvc").mkdir(parents=True)
    (outer / ".dvc/config").write_text("[core]\n    remote = other\n['remote \"other\"']\n    url = /nonexistent\n")
    (outer / ".gitignore").write_text("/var/\n")
    git(outer, "init", "-q")
    git(outer, "add", "-A")
    before = contents(outer)
    config = Config(root=outer / "var/demo")
    grow(config, tmp_path / "source", 3)
    version = commit_version.fn(config)
    assert version.root.is_relative_to(outer / "var/demo/var/snapshots")
    after = {path: digest for path, digest in contents(outer).items() if not path.startswith("var/")}
    assert after == before
    assert "??" not in git(outer, "status", "--short", "--untracked-files=all")


def test_at_the_top_of_a_checkout(checkout: Config, tmp_path: Path) -> None:
    """At the top of a git checkout data.dvc is there to be committed, nothing of data/ or var/ is."""
    config = checkout
    grow(config, tmp_path / "source", 3)
    version = commit_version.fn(config)
    status = git(config.root, "status", "--short", "--untracked-files=all").splitlines()
    assert {line[3:] for line in status} == {".dvc/.gitignore", ".dvc/config", ".dvcignore", ".gitignore", "data.dvc"}
    assert (config.root / ".gitignore").read_text() == IGNORED
    assert f"md5: {version.md5}.dir" in (config.root / "data.dvc").read_text()


def test_a_persons_own_dvc_settings_do_not_matter(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A global DVC configuration with links and another remote changes neither the snapshot nor where data goes."""
    (tmp_path / "global").mkdir()
    (tmp_path / "global/config").write_text(
        "[core]\n    remote = other\n[cache]\n    type = symlink\n['remote \"other\"']\n    url = /nonexistent/other\n"
    )
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    grow(config, tmp_path / "source", 2)
    version = commit_version.fn(config)
    assert not any(path.is_symlink() for path in version.root.rglob("*"))
    assert any(Path(config.workspace.dvc_remote).rglob("*"))


KILLED_AGAIN_AND_AGAIN = """
import os, signal, sys
from pathlib import Path
from edgeloop.config import Config
from tasks.version import commit_version
import dvc.repo

WRITES = {"open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "sqlite3.connect"}

def die_at(step):
    left = [step]
    def count(event, arguments):
        reads = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in WRITES and not reads:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)

step, deaths = 1, 0
while True:
    child = os.fork()
    if child == 0:
        die_at(step)
        print(commit_version.fn(Config(root=Path(sys.argv[1]))).md5, flush=True)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status):
        sys.exit(os.waitstatus_to_exitcode(status) or (0 if deaths > 8 else 9))
    deaths, step = deaths + 1, step + 1 + step // 3
"""


@pytest.mark.integration
def test_killed_commits_are_finished_by_the_next(config: Config, tmp_path: Path) -> None:
    """Killed with -9 at ever later points, the first run left alone makes the same version as an undisturbed one."""
    grow(config, tmp_path / "source", 4)
    undisturbed = Config(root=tmp_path / "undisturbed")
    merge(undisturbed.workspace.data, read(tmp_path / "source").frames, NAMES)
    expected = commit_version.fn(undisturbed)
    command = [sys.executable, "-c", KILLED_AGAIN_AND_AGAIN, str(config.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == expected.md5
    version = current_version(config)
    assert contents(version.root) == contents(expected.root)
    assert not list(config.workspace.snapshots.glob("*.tmp"))


KILLED_WHILE_IT_GROWS = (
    KILLED_AGAIN_AND_AGAIN.split("step, deaths", maxsplit=1)[0]
    + """
import hashlib
from edgeloop.dataset import load_labels, merge, state_of
from edgeloop.formats import read
from edgeloop.versions import pointed

root, source, names = Path(sys.argv[1]), Path(sys.argv[2]), ("scratch", "dent")
config, frames = Config(root=root), read(source).frames
place = config.workspace

def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

first = pointed(place.pointer)
before, rounds, step, deaths = contents(place.snapshots / first), {state_of(place.data)}, 1, 0
while True:
    child = os.fork()
    if child == 0:
        die_at(step)
        report = merge(place.data, frames, names)
        print(commit_version.fn(config, report.state).md5, flush=True)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    rounds.add(state_of(place.data))
    assert contents(place.snapshots / first) == before, step
    assert len(load_labels(place.data)) in (4, 7), step
    assert len(rounds) <= 2, step
    if not os.WIFSIGNALED(status):
        sys.exit(os.waitstatus_to_exitcode(status) or (0 if deaths > 12 else 9))
    deaths, step = deaths + 1, step + 1 + step // 4
"""
)


@pytest.mark.integration
def test_a_killed_writer_leaves_the_last_version(config: Config, tmp_path: Path) -> None:
    """Killed with -9 anywhere in a merge and its version, the version before is whole, data/ is the old or the new
    state and nothing between, and the first run left alone makes the version that an undisturbed one makes.
    """
    grow(config, tmp_path / "source", 4)
    first = commit_version.fn(config)
    undisturbed = Config(root=tmp_path / "undisturbed")
    grow(undisturbed, tmp_path / "source", 4)
    grow(undisturbed, tmp_path / "source", 7)
    expected = commit_version.fn(undisturbed)
    command = [sys.executable, "-c", KILLED_WHILE_IT_GROWS, str(config.root), str(tmp_path / "source")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == expected.md5 != first.md5
    assert contents(current_version(config).root) == contents(expected.root)
    assert not list(config.workspace.snapshots.glob("*.tmp"))
    assert not list(config.root.glob(".data.*.tmp"))


def test_half_a_pointer_is_written_again(config: Config, tmp_path: Path) -> None:
    """DVC writes data.dvc in place; half a file from a killed run is replaced."""
    grow(config, tmp_path / "source", 2)
    version = commit_version.fn(config)
    whole = config.workspace.pointer.read_text()
    config.workspace.pointer.write_text(whole[:15])
    with pytest.raises(BadInput, match="names no version"):
        current_version(config)
    assert commit_version.fn(config) == version
    assert config.workspace.pointer.read_text() == whole


def test_a_remote_that_refuses(tmp_path: Path) -> None:
    """A remote that cannot be written is one sentence, data/ is unchanged and no version; then the run is finished."""
    (tmp_path / "file").write_text("")
    config = Config(root=tmp_path / "ws", dvc_remote=str(tmp_path / "file/remote"))
    state = grow(config, tmp_path / "source", 2)
    with pytest.raises(BadInput, match="did not take the data") as caught:
        commit_version.fn(config)
    assert "\n" not in str(caught.value)
    assert state_of(config.workspace.data) == state
    assert not config.workspace.pointer.exists()
    (tmp_path / "file").unlink()
    version = commit_version.fn(config, state)
    shutil.move(tmp_path / "file", tmp_path / "away")
    (tmp_path / "file").write_text("")
    before = config.workspace.pointer.read_text()
    grow(config, tmp_path / "more", 3)
    with pytest.raises(BadInput, match="did not take the data"):
        commit_version.fn(config)
    assert config.workspace.pointer.read_text() == before
    (tmp_path / "file").unlink()
    shutil.move(tmp_path / "away", tmp_path / "file")
    version = commit_version.fn(config)
    shutil.rmtree(config.workspace.var)
    assert contents(checkout_version(config, version.md5, tmp_path / "out").root) == contents(config.workspace.data)


FULL = """
import resource, signal, sys
from pathlib import Path
from edgeloop.config import Config
from edgeloop.errors import is_full_disk
from tasks.version import commit_version

config = Config(root=Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    commit_version.fn(config)
except OSError as error:
    assert is_full_disk(error), error
    print("full")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(commit_version.fn(config).md5)
"""


@pytest.mark.integration
@pytest.mark.parametrize("limit", ["100", "700", "20000"])
def test_a_full_disk_is_said_once(config: Config, tmp_path: Path, limit: str) -> None:
    """No room for the cache or for DVC's own state is one error, without DVC's traceback a file; then it goes on."""
    grow(config, tmp_path / "source", 4)
    command = [sys.executable, "-c", FULL, str(config.root), limit]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said, md5 = done.stdout.split()
    assert (said, md5) == ("full", current_version(config).md5)
    assert "Traceback" not in done.stderr


HOLD = """
import sys, time
from dvc.repo import Repo
with Repo(sys.argv[1]) as repo, repo.lock:
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.integration
def test_another_dvc_process_is_waited_for(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody else's `dvc` holds the workspace, we wait, and in the end say so."""
    monkeypatch.setattr(door, "LOCK_PATIENCE_SECONDS", 1.0)
    grow(config, tmp_path / "source", 2)
    version = commit_version.fn(config)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(config.root)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BadInput, match="another DVC process"):
            commit_version.fn(config)
        holder.kill()
    assert commit_version.fn(config) == version


def test_what_cannot_be_checked_out(config: Config, tmp_path: Path) -> None:
    """No data, no version, no hash, an unknown one, and a folder that holds something: one sentence each."""
    with pytest.raises(BadInput, match="holds no data set"):
        commit_version.fn(config)
    with pytest.raises(BadInput, match="there is no data set yet"):
        current_version(config)
    with pytest.raises(BadInput, match="expected a version: current, previous"):
        checkout_version(config, "../../etc", tmp_path / "out")
    grow(config, tmp_path / "source", 2)
    version = commit_version.fn(config)
    with pytest.raises(BadInput, match="holds something already"):
        checkout_version(config, version.md5, tmp_path / "source")
    with pytest.raises(BadInput, match="neither the cache nor the DVC remote"):
        checkout_version(config, "0" * 32, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.usefixtures("committer")
def test_data_dvc_is_committed_alone(checkout: Config, tmp_path: Path, wanted: bool) -> None:
    """Each version is one commit of data.dvc; what else is staged stays staged; no change, no commit."""
    config = checkout.model_copy(update={"commit_pointer": wanted})
    (config.root / "other.txt").touch()
    git(config.root, "add", "other.txt")
    versions = []
    for count in (3, 3, 5):
        grow(config, tmp_path / "source", count)
        versions.append(commit_version.fn(config).md5)
    if not wanted:
        assert "??" in git(config.root, "status", "--short", "data.dvc")
        return
    log = git(config.root, "log", "--format=%s", "--name-only").split("\n\n")
    assert [line for part in log for line in part.split("\n") if line] == [
        f"Data set version {versions[2]}", "data.dvc", f"Data set version {versions[0]}", "data.dvc"
    ]  # fmt: skip
    assert git(config.root, "status", "--short", "other.txt").startswith("A ")
    assert find(config.workspace, "HEAD~1") == versions[0]


@pytest.mark.usefixtures("committer")
def test_git_that_refuses_is_a_warning(checkout: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The version is made; a hook that says no leaves the commit to the user, who is told."""
    config = checkout
    hook = config.root / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not today >&2\nexit 1\n")
    hook.chmod(0o755)
    grow(config, tmp_path / "source", 3)
    assert commit_version.fn(config).root.is_dir()
    assert "not today" in capsys.readouterr().err
