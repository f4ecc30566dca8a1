"""Cameras for tests: one behind the interface that live sources use, and real network cameras on loopback."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np


def picture(number: int, side: int = 64) -> np.ndarray:
    """A black (side, side, 3) BGR image with a red square whose column tells the number."""
    image = np.zeros((side, side, 3), np.uint8)
    column = 8 * (number % (side // 8))
    image[24:32, column : column + 8] = (0, 0, 255)
    return image


class FakeCamera:
    """A camera without hardware: hands out numbered pictures at a rate, and can be unplugged and plugged in.

    It is a `Capture`, and `connect` is the `Connect` that gives it.
    """

    def __init__(self, rate: float = 200.0, frames: int | None = None) -> None:
        self.rate, self.frames = rate, frames
        self.plugged = threading.Event()
        self.plugged.set()
        self.given, self.connections, self.attempts = 0, 0, 0

    def connect(self) -> FakeCamera | None:
        self.attempts += 1
        if not self.plugged.is_set() or self._is_through():
            return None
        self.connections += 1
        return self

    def read(self) -> np.ndarray | None:
        time.sleep(1 / self.rate)
        if not self.plugged.is_set() or self._is_through():
            return None
        self.given += 1
        return picture(self.given)

    def close(self) -> None:
        """Nothing to give back."""

    def _is_through(self) -> bool:
        return self.frames is not None and self.given >= self.frames


class MjpegCamera:
    """A real network camera, as cheap ones are: JPEG after JPEG in one endless HTTP answer on loopback.

    `unplug` cuts the connections and refuses new ones, `plug` listens again at the same address.
    """

    def __init__(self, rate: float = 60.0, side: int = 64, frames: Sequence[bytes] = ()) -> None:
        """Listen. `frames` are JPEGs to send over and over; numbered pictures without them."""
        self.rate, self.side, self.frames = rate, side, frames
        self.sent = 0
        self._server: ThreadingHTTPServer | None = None
        self._stop = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        self.plug()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/stream.mjpg"

    def next_frame(self) -> bytes:
        self.sent += 1
        if self.frames:
            return self.frames[self.sent % len(self.frames)]
        return cv2.imencode(".jpg", picture(self.sent, self.side))[1].tobytes()

    def plug(self) -> None:
        self._stop = threading.Event()
        handler = type("Handler", (_MjpegHandler,), {"camera": self, "stop": self._stop})
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def unplug(self) -> None:
        self._stop.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _MjpegHandler(BaseHTTPRequestHandler):
    camera: MjpegCamera
    stop: threading.Event

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            due = time.monotonic()
            while not self.stop.wait(max(due - time.monotonic(), 0)):
                due += 1 / self.camera.rate
                content = self.camera.next_frame()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
                self.wfile.write(head.encode() + content + b"\r\n")
        except OSError:
            pass  # the reader has gone

    def log_message(self, *_: Any) -> None:
        pass
