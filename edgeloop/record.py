"""What steps hand each other: small frozen records with a JSON form and a schema version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from edgeloop.errors import BadInput
from edgeloop.files import write_text

R = TypeVar("R", bound="Record")


class Record(BaseModel):
    """A frozen record. Unknown keys are refused; `schema_version` is written into every JSON document."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    SCHEMA_VERSION: ClassVar[int] = 1

    def to_json(self) -> str:
        """The record as indented JSON with its schema version first."""
        document = {"schema_version": self.SCHEMA_VERSION, **self.model_dump(mode="json")}
        return json_text(document)

    def save(self, path: Path) -> Path:
        """Write the JSON form, whole or not at all."""
        return write_text(path, self.to_json() + "\n")

    @classmethod
    def load(cls: type[R], path: Path) -> R:
        """Read a record that `save` wrote.

        Raises:
            BadInput: the file is missing, is not JSON, has another schema version or does not fit the record.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise BadInput(f"{path} does not exist; expected a {cls.__name__} in JSON.") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise BadInput(f"{path} is not JSON ({error}); expected a {cls.__name__}.") from error
        return cls.from_document(document, str(path))

    @classmethod
    def from_document(cls: type[R], document: object, source: str) -> R:
        """Validate a parsed document; `source` names it in the error."""
        if not isinstance(document, dict):
            raise BadInput(f"{source} holds {type(document).__name__}; expected one {cls.__name__} object.")
        version = document.pop("schema_version", cls.SCHEMA_VERSION)
        if version != cls.SCHEMA_VERSION:
            raise BadInput(
                f"{source} has schema version {version}; this edgeloop reads {cls.__name__} version "
                f"{cls.SCHEMA_VERSION}. Use the edgeloop release that wrote it, or write it again."
            )
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise BadInput(f"{source}: {explain(error)}") from error


def json_text(document: object) -> str:
    """A document as indented JSON that can be written as UTF-8.

    Paths may hold bytes that are no UTF-8, which Python keeps as half characters; they become JSON's own escapes
    (`\\udcff`), so that they come back as they were.
    """
    return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def explain(error: ValidationError) -> str:
    """One line for a pydantic error: the key path, what was expected and what came, for each finding."""
    parts = []
    for finding in error.errors():
        key = ".".join(str(part) for part in finding["loc"]) or "document"
        came = repr(finding.get("input"))
        parts.append(f"{key}: {finding['msg'].lower()} (got {came[:80]})")
    return "; ".join(parts)
