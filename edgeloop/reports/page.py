"""From a template and values to one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path

from edgeloop.errors import BadInput
from edgeloop.files import write_text

TEMPLATES = Path(__file__).parent / "templates"
MISSING = "–"


def write_page(path: Path, template: str, **content: object) -> Path:
    """Render a template below `templates/` and write it, whole or not at all. Values are escaped.

    Raises:
        BadInput: jinja2 is not installed, as on a device.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise BadInput("reports need jinja2: pip install jinja2.") from error
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": share, "number": number, "signed": signed, "megabytes": megabytes}
    return write_text(path, environment.get_template(template).render(**content))


def share(value: float | None) -> str:
    """0.7123 as 71.2 %."""
    return MISSING if value is None else f"{value * 100:.1f} %"


def number(value: float | None, digits: int = 2) -> str:
    """A plain number, or a dash."""
    return MISSING if value is None else f"{value:,.{digits}f}"


def signed(value: float | None, digits: int = 1) -> str:
    """A share as signed points: 0.021 as +2.1."""
    return MISSING if value is None else f"{value * 100:+.{digits}f}"


def megabytes(value: float | None) -> str:
    """A size with its unit."""
    return MISSING if value is None else f"{value:,.1f} MB"
