"""A real Label Studio for tests: its own environment, its own folder, loopback only, gone afterwards.

    with running_label_studio(tmp_path) as server: ...

The first use on a machine installs Label Studio and migrates an empty database into a cache folder (two to four
minutes); every later start copies that (about ten seconds).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from edgeloop.lock import exclusive

VERSION = "1.23.2"
EMAIL, PASSWORD = "admin@example.com", "edgeloop-test-1"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
START_SECONDS = 180
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "edgeloop-tests" / f"label-studio-{VERSION}"


@dataclass(frozen=True)
class LabelStudioServer:
    """A running server, what opens it, and requests as a browser would make them."""

    url: str
    token: str
    documents: Path

    def get(self, path: str, token: str = TOKEN, **parameters: object) -> httpx.Response:
        """GET with a legacy token."""
        return httpx.get(f"{self.url}{path}", params=parameters or None, headers=_header(token), timeout=60)

    def post(self, path: str, body: object, token: str = TOKEN) -> httpx.Response:
        """POST JSON with a legacy token."""
        return httpx.post(f"{self.url}{path}", json=body, headers=_header(token), timeout=60)

    def patch(self, path: str, body: object, token: str = TOKEN) -> httpx.Response:
        """PATCH JSON with a legacy token."""
        return httpx.patch(f"{self.url}{path}", json=body, headers=_header(token), timeout=60)

    def delete(self, path: str, token: str = TOKEN) -> httpx.Response:
        """DELETE with a legacy token."""
        return httpx.delete(f"{self.url}{path}", headers=_header(token), timeout=60)

    def next_task(self, project: int, token: str = TOKEN) -> dict | None:
        """The task that the labelling screen would show next; None when all are done."""
        response = self.get(f"/api/projects/{project}/next", token)
        return None if response.status_code == httpx.codes.NOT_FOUND else dict(response.raise_for_status().json())

    def annotate(self, task: int, result: list[dict], token: str = TOKEN, *, skip: bool = False) -> int:
        """Submit or skip a task as the labelling screen does; the annotation's id."""
        body = {"result": result, "was_cancelled": skip, "lead_time": 1.5}
        return int(self.post(f"/api/tasks/{task}/annotations/", body, token).raise_for_status().json()["id"])

    def invite(self, email: str, password: str) -> str:
        """A second person, who signed up through the invitation link; returns a token of theirs."""
        link = self.get("/api/invite").raise_for_status().json()["invite_url"]
        with self._browser() as browser:
            browser.get(link)
            form = {"email": email, "password": password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
            browser.post(link, data=form, headers={"Referer": f"{self.url}{link}"})
            return str(browser.get("/api/current-user/token").raise_for_status().json()["token"])

    def personal_access_token(self) -> str:
        """A personal access token of the first user, made as the account page makes it."""
        with self._browser() as browser:
            browser.get("/user/login/")
            form = {"email": EMAIL, "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
            browser.post("/user/login/", data=form, headers={"Referer": f"{self.url}/user/login/"})
            header = {"X-CSRFToken": browser.cookies["csrftoken"], "Referer": self.url}
            return str(browser.post("/api/token/", headers=header).raise_for_status().json()["token"])

    def _browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)


def _header(token: str) -> dict[str, str]:
    return {"Authorization": f"Token {token}"}


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """One server for the whole test session."""
    with running_label_studio(tmp_path_factory.mktemp("label-studio")) as server:
        yield server


@contextmanager
def running_label_studio(folder: Path) -> Iterator[LabelStudioServer]:
    """Start a server in `folder`; on the way out it is stopped."""
    program = _installed()
    template = _migrated(program)
    data, documents = folder / "data", folder / "documents"
    shutil.copytree(template, data, ignore=shutil.ignore_patterns(".env"))
    documents.mkdir()
    port = _free_port()
    server = LabelStudioServer(f"http://127.0.0.1:{port}", TOKEN, documents)
    command = [str(program), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--log-level", "WARNING"],
            env=_environment(data, documents, server.url),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
        try:
            _wait(server, process, folder / "server.log")
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment(data: Path, documents: Path, url: str) -> dict[str, str]:
    """Nothing of ours: Label Studio also reads bare names such as HOST, PORT, DEBUG and CI."""
    off = ("COLLECT_ANALYTICS", "LABEL_STUDIO_COLLECT_ANALYTICS", "LABEL_STUDIO_LATEST_VERSION_CHECK")
    on = ("LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN", "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED")
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(data / "home"),
        "XDG_CONFIG_HOME": str(data / "config"),
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_HOST": url,
        "LABEL_STUDIO_USERNAME": EMAIL,
        "LABEL_STUDIO_PASSWORD": PASSWORD,
        "LABEL_STUDIO_USER_TOKEN": TOKEN,
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(documents),
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        **dict.fromkeys(off, "false"),
        **dict.fromkeys(on, "true"),
    }


def _wait(server: LabelStudioServer, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until our user is known there: a taken port would have made the server choose another one in silence."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if server.get("/api/current-user/whoami").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass  # not listening yet
        time.sleep(0.3)
    pytest.fail(f"Label Studio did not start in {START_SECONDS} s: {log.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _installed() -> Path:
    """Label Studio's program in an environment of its own: it cannot share one with Prefect and MLflow."""
    environment = CACHE / "venv"
    program = environment / "bin" / "label-studio"
    with exclusive(CACHE / ".lock", "the Label Studio test environment", patience_seconds=600):
        if not (environment / ".complete").is_file():
            uv = shutil.which("uv") or os.environ.get("UV")
            if not uv:
                pytest.fail("uv is not on PATH and UV does not name it; it installs Label Studio for this test.")
            shutil.rmtree(environment, ignore_errors=True)
            subprocess.run([uv, "venv", "--python", "3.11", str(environment)], check=True)
            target = ["--python", str(environment / "bin" / "python")]
            subprocess.run([uv, "pip", "install", *target, f"label-studio=={VERSION}"], check=True)
            (environment / ".complete").touch()
    return program


def _migrated(program: Path) -> Path:
    """An empty, migrated data folder: 396 migrations take a minute, a copy takes none."""
    template = CACHE / "template"
    with exclusive(CACHE / ".lock", "the Label Studio test environment", patience_seconds=600):
        if not (template / ".complete").is_file():
            shutil.rmtree(template, ignore_errors=True)
            template.mkdir(parents=True)
            environment = _environment(template, template, "http://127.0.0.1:1")
            subprocess.run(
                [str(program), "version"],
                env=environment,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            (template / ".complete").touch()
    return template
