"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.demo_runs import run_to_its_end

ROOT = Path(__file__).resolve().parents[1]

# The same examples every time, so that a failure is a change's own; `HYPOTHESIS_PROFILE=explore` looks for new ones.
settings.register_profile("same", derandomize=True, deadline=None)  # timings are no property of the code
settings.register_profile("explore", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real data sets make a test a slow one; a module stays on one worker, and so does all that looks at one demo."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "shared" in fixtures:
            item.add_marker(pytest.mark.integration)
        group = "undisturbed" if "undisturbed" in fixtures else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data sets for measurements; a test that needs them says so and is skipped where they are absent."""
    folder = Path(os.environ.get("EDGELOOP_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"real data sets are not here: expected {folder}/data (set EDGELOOP_SHARED)")
    return folder


@pytest.fixture(scope="session")
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace after one tiny demo that nobody disturbed."""
    return run_to_its_end(root, tmp_path_factory.mktemp("undisturbed"))
