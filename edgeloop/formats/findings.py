"""What reading a labelled set found: frames, class names, and everything that was wrong, each with path and reason."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeloop.errors import BadInput
from edgeloop.formats.rules import RULES, Kind, Severity
from edgeloop.frames import LabelledFrame
from edgeloop.record import Record

NAMED = 3  # paths named for each kind in the sentence that refuses a set


class Finding(Record):
    """One thing that is wrong with a set, or worth knowing about it.

    Attributes:
        severity: an error refuses the whole set; a warning left a box or a frame out, or mended it, and went on; a
            notice changed nothing.
        kind: which check found it; `edgeloop.formats.rules.RULES` says what each means.
        path: the file it is about.
        reason: what was expected and what came, for people.
        box: where in the image, x1, y1, x2, y2 in pixels; None when it is about more or less than one box.
        fix: what reading with `fix` does about it; "" when only a person can.
        fixed: that was done.
    """

    severity: Severity
    kind: Kind
    path: Path
    reason: str
    box: tuple[float, float, float, float] | None = None
    fix: str = ""
    fixed: bool = False

    def __str__(self) -> str:
        done = f" ({'done' if self.fixed else '--fix'}: {self.fix})" if self.fix else ""
        return f"{printable(self.path)}: {self.reason or RULES[self.kind].phrase}{done}"


@dataclass(frozen=True)
class ReadReport:
    """A labelled set, read and checked; no frame occurs twice, no box leaves its image.

    Attributes:
        frames: in the order of their paths.
        names: class names, index is the class id.
        findings: the warnings: what was left out or mended, with path and reason.
        files: image files read; more than `frames` when content repeats.
        notices: what is worth a look and changed nothing.
    """

    frames: tuple[LabelledFrame, ...]
    names: tuple[str, ...]
    findings: tuple[Finding, ...]
    files: int
    notices: tuple[Finding, ...] = ()

    @property
    def rejected(self) -> tuple[Finding, ...]:
        """What was left out whoever asked: boxes without area, repetitions."""
        return tuple(finding for finding in self.findings if not finding.fixed)

    @property
    def mended(self) -> tuple[Finding, ...]:
        """What was changed or left out because `fix` was asked for."""
        return tuple(finding for finding in self.findings if finding.fixed)


def error(kind: Kind, path: Path, reason: str, fix: str | None = None) -> Finding:
    """A finding that refuses the set, unless `fix` says what can be done about it and somebody asks for that.

    `fix` defaults to what its rule says of every finding of the kind.
    """
    if fix is None:
        fix = "" if RULES[kind].depends else RULES[kind].fix
    return Finding(severity="error", kind=kind, path=path, reason=reason, fix=fix)


def warning(kind: Kind, path: Path, reason: str) -> Finding:
    """A finding that leaves one box or one frame out."""
    return Finding(severity="warning", kind=kind, path=path, reason=reason)


def notice(kind: Kind, path: Path, reason: str, box: tuple[float, float, float, float] | None = None) -> Finding:
    """A finding that changes nothing."""
    return Finding(severity="notice", kind=kind, path=path, reason=reason, box=box)


def mend(findings: Iterable[Finding]) -> list[Finding]:
    """The findings after `--fix`: errors that it can do something about are warnings that say what was done."""
    done = {"severity": "warning", "fixed": True}
    return [
        finding.model_copy(update=done) if finding.severity == "error" and finding.fix else finding
        for finding in findings
    ]


def refuse_errors(folder: Path, findings: Iterable[Finding]) -> None:
    """Raise when any finding is an error.

    Raises:
        BadInput: one sentence that counts the errors by kind, names the first few files of each, and says how many of
            them `--fix` would mend.
    """
    by_kind: dict[Kind, list[Finding]] = {}
    for finding in findings:
        if finding.severity == "error":
            by_kind.setdefault(finding.kind, []).append(finding)
    if not by_kind:
        return
    every = [finding for found in by_kind.values() for finding in found]
    parts = [_phrase(folder, kind, found) for kind, found in by_kind.items()]
    raise BadInput(
        f"{printable(folder)} is not a clean labelled set, {len(every)} {'error' if len(every) == 1 else 'errors'}: "
        f"{'; '.join(parts)}. Nothing of it was taken in; correct these files and try again{_offer(every)}."
    )


def _offer(errors: Sequence[Finding]) -> str:
    mendable = sum(bool(finding.fix) for finding in errors)
    if not mendable:
        return ""
    return f" (--fix would mend {'all of them' if mendable == len(errors) else f'{mendable} of the {len(errors)}'})"


def _phrase(folder: Path, kind: Kind, found: list[Finding]) -> str:
    named = ", ".join(_named(folder, finding) for finding in found[:NAMED])
    more = f", and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"{len(found)} × {RULES[kind].phrase}: {named}{more}"


def below(folder: Path, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings with paths relative to the set, which say the same on every machine; paths outside it stay."""
    return tuple(finding.model_copy(update={"path": in_set(folder, finding.path)}) for finding in findings)


def in_set(folder: Path, path: Path) -> Path:
    """A path relative to the set; one outside it as it is."""
    return path.relative_to(folder) if path != folder and path.is_relative_to(folder) else path


def _named(folder: Path, finding: Finding) -> str:
    shown = in_set(folder, finding.path)
    return f"{printable(shown)} ({finding.reason})" if finding.reason else printable(shown)


def printable(path: Path | str) -> str:
    """A path as people can read it in one line: control characters and undecodable bytes escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(path))


def utf8(name: Path | str) -> str:
    """A file name that can be written as UTF-8: bytes that are none become `\\xff`, everything else stays."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
