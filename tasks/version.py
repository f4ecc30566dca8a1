"""The DVC door: every state of the data set is a version, pushed to the remote and laid out as an immutable snapshot.

    data/ --add--> var/dvc-cache --push--> remote          data.dvc says which version data/ is
                   var/dvc-cache --copy--> var/snapshots/<md5>/   what training and evaluation read

Links into DVC's cache are never made, not even hard links: their read-only mode does not stop root, and a write through
one would change every version that holds the file. Where the file system can, the copies share their blocks (reflink).
Snapshots share unchanged files with each other, as hard links: whoever writes into one should remove `var/snapshots`,
and every snapshot is laid out again when it is asked for.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgeloop.config import Config, Workspace
from edgeloop.dataset import DatasetVersion, ListedVersion, describe, load_rows, state_of, writing
from edgeloop.dataset_diff import Contents, DatasetDiff, compare
from edgeloop.errors import BadInput, is_full_disk
from edgeloop.files import write_text
from edgeloop.formats.findings import printable
from edgeloop.lock import exclusive
from edgeloop.output import say
from edgeloop.places import require_place
from edgeloop.snapshot import lay_beside, protect
from edgeloop.versions import find, load, made, pointed, record_of, with_state
from tasks.stage import stage

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

T = TypeVar("T")
REMOTE = "store"  # `dvc remote modify --local store …` is where a user's credentials go
LOCK_PATIENCE_SECONDS = 60.0  # for another DVC process in the same workspace; DVC itself gives up after 3


@stage(cache=False)
def require_remote(config: Config) -> None:
    """Before anything changes: the remote takes a file.

    Raises:
        BadInput: it does not.
    """
    _patiently(lambda: _probe(config.workspace))


def _probe(place: Workspace) -> None:
    with _said_plainly(_refusal(place)), _repository(place) as repo:
        remote = repo.cloud.get_remote_odb(REMOTE)
        probe = remote.fs.join(remote.path, f".probe-{uuid.uuid4().hex}")
        remote.fs.makedirs(remote.path, exist_ok=True)
        remote.fs.pipe_file(probe, b"")
        with suppress(Exception):  # where nothing may be deleted, an empty file stays
            remote.fs.remove(probe)


@stage
def commit_version(config: Config, state: str = "") -> DatasetVersion:
    """Make a version of what data/ holds now: into the cache, to the remote, `data.dvc` rewritten, snapshot laid out.

    The same content gives the same version, and a killed run is finished by the next. In a git checkout `data.dvc` is
    committed, alone, unless `commit_pointer: false` says that this is the user's.

    Args:
        config: names the workspace and the remote.
        state: what data/ held after the merge before; "" takes it as it is. When data/ has moved on since, the version
            that was made of that state is the answer, so that a run started again goes on from where it was.

    Raises:
        BadInput: there is no data set, the state is neither there nor a version, or the remote refuses.
    """
    place = config.workspace
    with writing(place.data):
        found = state_of(place.data)
        if state and state != found:
            return _snapshot(place, _version_of(place, state, found))
        if not found:
            raise BadInput(f"{printable(place.data)} holds no data set; run `edgeloop ingest` on a labelled set first.")
        md5 = _patiently(lambda: _add_and_push(place))
        if config.commit_pointer and (place.root / ".git").exists():
            _commit_pointer(place, md5)
    return _snapshot(place, md5)


def _commit_pointer(place: Workspace, md5: str) -> None:
    """Commit `data.dvc`, and nothing else that is staged; nothing when it did not change. A refusal is a warning."""
    pointer = place.pointer.relative_to(place.root).as_posix()
    steps = (["add", "--", pointer], ["commit", "--quiet", "--only", "-m", f"Data set version {md5}", "--", pointer])
    if not _git(place, "status", "--porcelain", "--", pointer).stdout.strip():
        return
    for step in steps:
        done = _git(place, *step)
        if done.returncode:
            reason = " ".join((done.stderr or done.stdout).split())
            say(f"warning: git did not commit {pointer} ({reason}); the version is made, commit it yourself.")
            return


def _git(place: Workspace, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(place.root), *words]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


def current_version(config: Config) -> DatasetVersion:
    """The version that `data.dvc` names; its snapshot is laid out again when it is gone.

    Raises:
        BadInput: no version has been made, or neither cache nor remote holds it.
    """
    return _snapshot(config.workspace, find(config.workspace, "current"))


def list_versions(config: Config) -> list[ListedVersion]:
    """Every version made in this workspace, newest first, and the one that `data.dvc` names, wherever it was made.

    Raises:
        BadInput: no version has been made, or neither cache nor remote holds the current one.
    """
    place = config.workspace
    current = current_version(config).md5
    return [ListedVersion(version=load(place, md5), current=md5 == current) for md5 in reversed(made(place))]


def compare_versions(config: Config, before: str, after: str) -> DatasetDiff:
    """What changed from one version to another.

    Args:
        config: names the workspace and the remote.
        before, after: as `edgeloop.versions.find` takes them.

    Raises:
        BadInput: there is no such version, or neither cache nor remote holds it.
    """
    found = [_snapshot(config.workspace, find(config.workspace, name)) for name in (before, after)]
    return compare(*(Contents(one.md5, one.names, load_rows(one.root)) for one in found))


def checkout_version(config: Config, name: str, out: Path) -> DatasetVersion:
    """Lay out any version in a new folder, byte for byte as it was.

    Args:
        config: names the workspace and the remote.
        name: the version, as `edgeloop.versions.find` takes it.
        out: does not exist yet, or is empty.

    Raises:
        BadInput: there is no such version, `out` holds something, or neither cache nor remote has the version.
    """
    require_place(out if out.is_dir() else out.parent)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"{printable(out)} holds something already; expected a folder that is new or empty.")
    md5 = find(config.workspace, name)
    _lay_out(config.workspace, md5, out.resolve())
    return describe(out.resolve(), md5)


def _version_of(place: Workspace, state: str, found: str) -> str:
    md5 = with_state(place, state)
    if md5 is None:
        raise BadInput(
            f"{printable(place.data)} is in state {found[:12] or 'none'}, expected {state[:12]}, of which no "
            f"version was made: it was changed meanwhile. Run again from the start."
        )
    return md5


@contextmanager
def _repository(place: Workspace) -> Iterator[Repo]:
    """The workspace as a DVC repository of its own, initialised when it is not one; an outer one is never used."""
    from dvc.repo import Repo

    no_scm = not (place.root / ".git").exists()
    folder = place.root / ".dvc"
    if not (folder / "config").is_file():
        with _listening():
            Repo.init(str(place.root), no_scm=no_scm, force=True).close()
        if no_scm and place.var.is_relative_to(place.root):  # git ignores it; DVC would look for stages in snapshots
            write_text(place.root / ".dvcignore", f"/{place.var.relative_to(place.root).as_posix()}/\n")
    if not (folder / "config.local").exists():  # for people who call `dvc` here; what runs here holds it in memory
        write_text(folder / "config.local", _as_ini(_settings(place, no_scm=no_scm)))
    with _open(place.root, place, no_scm=no_scm) as repo:
        yield repo


def _open(root: Path, place: Workspace, *, no_scm: bool) -> Repo:
    """The repository at `root` with the workspace's cache and remote."""
    from dvc.repo import Repo

    site = place.var / "dvc-site"
    site.mkdir(parents=True, exist_ok=True, mode=0o700)  # DVC opens what it makes below it to every user
    return Repo(str(root), config=_settings(place, no_scm=no_scm))


def _settings(place: Workspace, *, no_scm: bool) -> dict[str, Any]:
    """Held in memory over every file, so that nobody's own DVC configuration changes what a version is."""
    core = {"remote": REMOTE, "no_scm": no_scm, "analytics": False, "check_update": False, "autostage": False}
    return {
        "core": {**core, "site_cache_dir": str(place.var / "dvc-site")},
        "cache": {"dir": str(place.var / "dvc-cache"), "type": "reflink,copy"},
        "remote": {REMOTE: {"url": place.dvc_remote}},
    }


def _as_ini(settings: dict[str, Any]) -> str:
    core, cache, remote = settings["core"], settings["cache"], settings["remote"]
    sections = {"core": core, "cache": cache, f"'remote \"{REMOTE}\"'": remote[REMOTE]}
    lines = [
        [f"[{name}]", *(f'    {key} = "{value}"' for key, value in keys.items())] for name, keys in sections.items()
    ]
    return "\n".join(line for section in lines for line in section) + "\n"


def _refusal(place: Workspace) -> str:
    return f"the DVC remote {place.dvc_remote} did not take the data; check the address and the rights"


def _add_and_push(place: Workspace) -> str:
    """Where the remote refuses, `data.dvc` names the version before, and data/ waits for the next run."""
    before = pointed(place.pointer) and place.pointer.read_text(encoding="utf-8")
    if not before:
        place.pointer.unlink(missing_ok=True)  # DVC writes it in place: a killed `add` may leave half a file
    try:
        return _pushed(place)
    except BadInput:
        if before:
            write_text(place.pointer, before)
        else:
            place.pointer.unlink(missing_ok=True)
        raise


def _pushed(place: Workspace) -> str:
    from dvc.exceptions import UploadError

    with _said_plainly(f"DVC could not take in {printable(place.data)}"), _repository(place) as repo:
        (added,) = repo.add(str(place.data), relink=False)  # data/ holds its own copies, the cache others
        tree = added.outs[0].obj
        with _said_plainly(_refusal(place)):  # not `Repo.push`, which first indexes the whole workspace: twice the time
            pushed = repo.cloud.push([tree.hash_info, *(entry for _, _, entry in tree)])
            if pushed.failed:
                raise UploadError(len(pushed.failed))
    return str(tree.hash_info.value).removesuffix(".dir")


def _snapshot(place: Workspace, md5: str) -> DatasetVersion:
    """The snapshot of a version; its record is kept, so that counting it again costs nothing."""
    root, record = place.snapshots / md5, record_of(place, md5)
    with exclusive(place.snapshots / ".lock", f"the snapshot {md5}", LOCK_PATIENCE_SECONDS):
        if not root.is_dir():
            _lay_out(place, md5, root, _newest_snapshot(place))
        if record.is_file():
            return load(place, md5)
        version = describe(root, md5)
        version.save(record)
        return version


def _newest_snapshot(place: Workspace) -> Path | None:
    roots = (place.snapshots / md5 for md5 in reversed(made(place)))
    return next((root for root in roots if root.is_dir()), None)


def _lay_out(place: Workspace, md5: str, out: Path, neighbour: Path | None = None) -> None:
    """Lay a version out beside `out`, then rename it: `out` is whole or absent."""
    for left in out.parent.glob(f".{out.name}.*.tmp"):
        shutil.rmtree(left, ignore_errors=True)
    bench = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}.tmp"
    bench.mkdir(parents=True)
    try:
        if neighbour is None or not _lay_beside(neighbour, place, md5, bench / "data"):
            shutil.rmtree(bench / "data", ignore_errors=True)
            write_text(bench / "data.dvc", f"outs:\n- md5: {md5}.dir\n  hash: md5\n  path: data\n")
            _patiently(lambda: _check_out(bench, place, md5))
            protect(bench / "data")
        (bench / "data").rename(out)
    finally:
        shutil.rmtree(bench, ignore_errors=True)


def _lay_beside(neighbour: Path, place: Workspace, md5: str, out: Path) -> bool:
    """Lay a snapshot out beside another; False when the cache, which `dvc gc` empties, lacks something.

    What the two versions share, by DVC's own hashes, is linked; the rest is copied from DVC's cache. Where 1,000 of
    50,000 frames are new, that is fifty times fewer files to copy.
    """
    with _repository(place) as repo, suppress(FileNotFoundError):
        cache = repo.cache.local
        files, shared = _tree(cache, md5), _tree(cache, neighbour.name)
        entries = {name: (cache.oid_to_path(oid), shared.get(name) == oid) for name, oid in files.items()}
        lay_beside(neighbour, out, entries)
        return True
    return False


def _tree(cache: HashFileDB, md5: str) -> dict[str, str]:
    """DVC's hash of every file of a version, by its path."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    tree = Tree.load(cache, HashInfo("md5", f"{md5}.dir"))
    return {"/".join(key): entry.value for key, _, entry in tree}


def _check_out(bench: Path, place: Workspace, md5: str) -> None:
    from dvc.exceptions import CheckoutError
    from dvc.repo import Repo

    absent = f"neither the cache nor the DVC remote {place.dvc_remote} holds the version {md5}"
    with _said_plainly(absent):
        Repo.init(str(bench), no_scm=True, force=True).close()
        with _open(bench, place, no_scm=True) as repo:
            try:
                repo.checkout()
            except CheckoutError:  # the cache was emptied, `dvc gc` does it: the remote has every version
                repo.pull()


@contextmanager
def _said_plainly(sentence: str) -> Iterator[None]:
    """Run DVC without analytics and chatter, and say what went wrong in one sentence instead of its log.

    Raises:
        BadInput: the sentence with DVC's reason.
        OSError: the disk is full.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError

    with _listening() as heard:
        try:
            yield
        except LockError:
            raise
        except (DvcException, OSError, sqlite3.OperationalError) as error:
            reason = next((said for said in heard if is_full_disk(said)), heard[0] if heard else error)
            if is_full_disk(error) or is_full_disk(reason) or _is_full_sqlite(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise BadInput(f"{sentence} ({' '.join(str(reason).split())}).") from error


def _is_full_sqlite(error: BaseException) -> bool:
    """DVC keeps its state in SQLite, whose error for a full disk is not the operating system's."""
    code = getattr(error, "sqlite_errorcode", None)
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)


class _Ear(logging.Handler):
    """Collects the exceptions that are logged; DVC logs one traceback for each file and raises only their number."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            self.heard.append(record.exc_info[1])


@contextmanager
def _listening() -> Iterator[list[BaseException]]:
    """DVC's loggers say nothing while the block runs; on stdout they would stand among our results."""
    ear = _Ear()
    loggers = [logging.getLogger(name) for name in ("dvc", "dvc_data", "dvc_objects")]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [ear], False
    try:
        yield ear.heard
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate


def _patiently(work: Callable[[], T]) -> T:
    """Do DVC work, again when another DVC process held the repository.

    Raises:
        BadInput: it is still held after a minute.
    """
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    from dvc.lock import LockError

    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(LockError):
            return work()
        time.sleep(1)
    raise BadInput("another DVC process holds this workspace; wait for it to end and try again.")
