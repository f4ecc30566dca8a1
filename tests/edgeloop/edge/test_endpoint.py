"""Flags, metrics and health over HTTP on loopback, with a real server and real requests."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeloop.edge.device_token import read_token
from edgeloop.edge.endpoint import LARGEST_BODY, Endpoint, loopback
from edgeloop.edge.flags import Flag
from edgeloop.edge.meter import AgentStatus, Histogram
from edgeloop.errors import BadInput
from tests.edgeloop.edge.agents import a_status

TOKEN = "t0k3n-of-this-very-test"
FRAME = "0123456789abcdef"
WORD = json.dumps({"frame_id": FRAME, "kind": "missed"})
KNOWN = {"Authorization": f"Bearer {TOKEN}"}


class Line:
    """An endpoint and what came through it."""

    def __init__(self) -> None:
        self.flags: list[Flag] = []
        self.status: AgentStatus = a_status()
        self.endpoint = Endpoint("127.0.0.1:0", TOKEN, lambda: self.status, Histogram(), self.take)

    def take(self, flag: Flag) -> tuple[str, bool]:
        self.flags.append(flag)
        return "flags/date=2026-03-01/x.json", flag.kind == "missed"

    def ask(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.endpoint.address, timeout=10)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.endpoint.close()


def test_a_flag_is_recorded(line: Line) -> None:
    """Who knows the token flags a frame, and learns whether its image is kept."""
    assert line.ask("POST", "/flags", WORD, KNOWN) == (
        201, '{"flag": "flags/date=2026-03-01/x.json", "image": "kept"}',
    )  # fmt: skip
    code, answer = line.ask("POST", "/flags", WORD.replace("missed", "false-positive"), KNOWN)
    assert (code, json.loads(answer)["image"]) == (201, "gone")
    assert [(flag.frame_id, flag.kind) for flag in line.flags] == [(FRAME, "missed"), (FRAME, "false-positive")]


@pytest.mark.parametrize("given", [None, "Bearer wrong", TOKEN[:-1], "Bearer é"])
def test_a_stranger_flags_nothing(line: Line, given: str | None) -> None:
    """Without the token, or with another one, the answer is 401 and nothing is recorded."""
    headers = {} if given is None else {"Authorization": given}
    assert line.ask("POST", "/flags", WORD, headers)[0] == 401
    assert line.flags == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", 400),
        ("[]", 400),
        ("", 400),
        ('{"frame_id": "../../x", "kind": "missed"}', 400),
        (json.dumps({"frame_id": FRAME, "kind": "broken"}), 400),
        ("[" * 3000, 400),
        ('"' + "x" * LARGEST_BODY + '"', 413),
    ],
)
def test_what_is_no_flag_is_refused(line: Line, body: str, code: int) -> None:
    """Broken, wrong and large bodies are refused with a sentence, and the next request is served."""
    status, answer = line.ask("POST", "/flags", body, KNOWN)
    assert status == code
    assert json.loads(answer)["error"]
    assert line.flags == []
    assert line.ask("POST", "/flags", WORD, KNOWN)[0] == 201


def test_a_body_without_a_length_is_refused(line: Line) -> None:
    """A chunked body could be endless: 411."""
    connection = http.client.HTTPConnection(line.endpoint.address, timeout=10)
    connection.request("POST", "/flags", iter([WORD.encode()] * 20), KNOWN)
    assert connection.getresponse().status == 411


def test_metrics_and_health(line: Line) -> None:
    """Numbers for Prometheus; health is 503 while the camera is away or something is wrong."""
    code, text = line.ask("GET", "/metrics")
    assert code == 200
    assert "edgeloop_connected 1" in text
    assert line.ask("GET", "/health")[0] == 200
    line.status = a_status(connected=False)
    assert line.ask("GET", "/health")[0] == 503
    line.status = a_status(problems=("the disk is full",))
    code, text = line.ask("GET", "/health")
    assert (code, json.loads(text)["problems"]) == (503, ["the disk is full"])
    assert line.ask("GET", "/")[0] == 404


def test_another_name_for_this_machine_is_refused(line: Line) -> None:
    """A web page whose name was pointed at 127.0.0.1 reads nothing."""
    assert line.ask("GET", "/metrics", headers={"Host": "evil.example"})[0] == 421
    assert line.ask("POST", "/flags", WORD, {**KNOWN, "Host": "evil.example:80"})[0] == 421
    assert line.ask("GET", "/metrics", headers={"Host": "localhost:1"})[0] == 200


@pytest.mark.parametrize(
    "address", ["0.0.0.0:80", "192.168.1.5:80", "camera:80", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", ""]
)
def test_only_loopback_is_served(address: str) -> None:
    """An address that other machines could reach, or none at all, is refused."""
    with pytest.raises(BadInput, match="expected a loopback address"):
        loopback(address)


def test_a_taken_port_is_said() -> None:
    """Two endpoints on one port: the second is refused."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(BadInput, match="choose another port"):
        Endpoint(f"127.0.0.1:{taken.getsockname()[1]}", TOKEN, a_status, Histogram(), lambda _: ("", True))


def test_token_is_made_once_for_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run makes a token that only its owner reads, later ones read it; the variable comes first."""
    monkeypatch.delenv("EDGELOOP_TOKEN", raising=False)
    token = read_token(tmp_path)
    assert len(token) > 40
    assert read_token(tmp_path) == token
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(BadInput, match="can be read by others"):
        read_token(tmp_path)
    monkeypatch.setenv("EDGELOOP_TOKEN", "from-the-environment")
    assert read_token(tmp_path) == "from-the-environment"
    monkeypatch.setenv("EDGELOOP_TOKEN", "short")
    with pytest.raises(BadInput, match="at least 16"):
        read_token(tmp_path)
