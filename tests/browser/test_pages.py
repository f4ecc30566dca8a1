"""What people look at after the demo, in a real Chromium: our reports, Evidently's, and both candidates in MLflow."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from edgeloop.config import Config, load_config
from edgeloop.services import mlflow_server
from tasks.process import end, free_port, spawn, wait_until_healthy
from tasks.register import list_versions

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.fail("no Chromium on PATH; install the package chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield browser
        browser.close()


@dataclass
class Seen:
    """What a page asked for beyond this machine, and what went wrong in it."""

    page: Page
    asked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@contextmanager
def opened(browser: Browser, url: str, width: int = 1280) -> Iterator[Seen]:
    """A page; requests that leave this machine are refused and noted."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    seen = Seen(page)

    def stay_here(route: Route) -> None:
        if route.request.url.startswith(("file:", "data:", "blob:", "http://127.0.0.1")):
            route.continue_()
        else:
            seen.asked.append(route.request.url)
            route.abort()

    page.route("**/*", stay_here)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.goto(url, wait_until="load")
    yield seen
    page.close()


def reports(workspace: Path) -> dict[str, Path]:
    """The pages that the demo names at its end."""
    result = json.loads((workspace / "result.json").read_text(encoding="utf-8"))
    return {
        "demo": workspace / "var" / "reports" / "demo.html",
        "gate": Path(result["second"]["decision"]["report"]),
        "candidates": Path(result["second"]["decision"]["candidates"]),
        "drift": Path(result["alarm"]["html"]),
    }


@pytest.mark.parametrize("name", ["demo", "gate", "candidates"])
@pytest.mark.parametrize("width", [1280, 420])
def test_our_pages_are_whole_on_a_screen_and_on_a_phone(
    chromium: Browser, undisturbed: Path, name: str, width: int
) -> None:
    """Nothing is fetched, no script fails, every picture shows, and the page does not run out of its side."""
    with opened(chromium, reports(undisturbed)[name].as_uri(), width) as seen:
        page = seen.page
        assert (seen.asked, seen.errors) == ([], [])
        assert page.locator("h1").count() == 1
        assert page.locator("table tr").count() > 5
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_gate_page_shows_every_row_of_the_decision(chromium: Browser, undisturbed: Path) -> None:
    """What was decided is what a person reads."""
    result = json.loads((undisturbed / "result.json").read_text(encoding="utf-8"))
    with opened(chromium, reports(undisturbed)["gate"].as_uri()) as seen:
        text = seen.page.locator("body").inner_text()
        for row in result["second"]["decision"]["rows"]:
            assert row["reason"] in text


def test_drift_page_draws_its_columns_without_a_network(chromium: Browser, undisturbed: Path) -> None:
    """Evidently's page works on a machine that reaches nothing; it shows the columns that were watched."""
    with opened(chromium, reports(undisturbed)["drift"].as_uri()) as seen:
        seen.page.get_by_text("brightness").first.wait_for(timeout=60_000)
        assert seen.errors == []


def experiment_of(config: Config) -> str:
    """The number of the experiment that the workspace registers in."""
    import mlflow

    found = mlflow.MlflowClient(config.workspace.tracking_uri).get_experiment_by_name(config.tracking.experiment)
    assert found is not None
    return str(found.experiment_id)


def test_mlflow_shows_both_candidates(chromium: Browser, undisturbed: Path, tmp_path: Path) -> None:
    """The registry lists the versions and which is the champion; runs and models compare by the same columns."""
    config = load_config(undisturbed / "config.yaml")
    service = mlflow_server(config, free_port())
    process = spawn(service.command, tmp_path / "log", {**os.environ, **service.environment})
    try:
        wait_until_healthy(service.health, process, tmp_path / "log")
        with opened(chromium, f"{service.url}/#/models/{config.tracking.model}") as seen:
            seen.page.get_by_text("Version 1", exact=True).first.wait_for(timeout=60_000)
            seen.page.get_by_text("Version 2", exact=True).first.wait_for(timeout=60_000)
            seen.page.get_by_text("champion").first.wait_for(timeout=60_000)
        runs = json.dumps([version.run_id for version in list_versions(config)])
        number = experiment_of(config)
        asked = f"compare-runs?runs={quote(runs)}&experiments={quote(json.dumps([number]))}"
        with opened(chromium, f"{service.url}/#/{asked}") as seen:
            seen.page.get_by_text("Parallel Coordinates Plot").first.wait_for(timeout=60_000)
            for name in ("audit.audit-clean/map50", "audit.audit-clean/loss_vs_fp32", "architecture"):
                seen.page.get_by_text(name, exact=True).first.wait_for(timeout=60_000)
        with opened(chromium, f"{service.url}/#/experiments/{number}/models", width=4000) as seen:
            seen.page.get_by_text("Model training").first.click(timeout=60_000)
            seen.page.goto(f"{service.url}/#/experiments/{number}/models")
            seen.page.get_by_text("-fp32-").first.wait_for(timeout=60_000)
            seen.page.get_by_text("-int8-").first.wait_for(timeout=60_000)
            seen.page.get_by_text("p50_ms", exact=True).first.wait_for(timeout=60_000)
    finally:
        end(process)
