"""A real RTSP camera on loopback: RFC 2326 with RTP over the same connection, pictures as RTP/JPEG (RFC 2435)."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading

import cv2

from tests.cameras import picture

CLOCK = 90_000  # of RTP/JPEG, ticks a second
SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track0\r\n"


class RtspCamera:
    """Serves numbered pictures; `unplug` cuts the connections and refuses new ones, `plug` listens again."""

    def __init__(self, rate: float = 60.0, side: int = 64) -> None:
        self.rate, self.side, self.sent = rate, side, 0
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.plug()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/stream"

    def plug(self) -> None:
        self.stop = threading.Event()
        handler = type("Handler", (_Handler,), {"camera": self, "stop": self.stop})
        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def unplug(self) -> None:
        if not self.stop.is_set():
            self.stop.set()
            self._server.shutdown()
            self._server.server_close()


class _Handler(socketserver.StreamRequestHandler):
    camera: RtspCamera
    stop: threading.Event

    def handle(self) -> None:
        while not self.stop.is_set() and (line := self.rfile.readline().decode().split()):
            headers = dict(self._headers())
            method = line[0]
            answer = {"CSeq": headers.get("cseq", "1"), "Session": "1"}
            if method == "OPTIONS":
                answer["Public"] = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"
            if method == "SETUP":
                answer["Transport"] = "RTP/AVP/TCP;unicast;interleaved=0-1"
            if method == "DESCRIBE":
                answer |= {"Content-Type": "application/sdp", "Content-Length": str(len(SDP))}
            head = "RTSP/1.0 200 OK\r\n" + "".join(f"{name}: {value}\r\n" for name, value in answer.items()) + "\r\n"
            self.wfile.write((head + (SDP if method == "DESCRIBE" else "")).encode())
            if method == "PLAY":
                self._play()
                return

    def _headers(self) -> list[tuple[str, str]]:
        found = []
        while text := self.rfile.readline().decode().strip():
            name, _, value = text.partition(":")
            found.append((name.lower(), value.strip()))
        return found

    def _play(self) -> None:
        number = 0
        try:
            while not self.stop.wait(1 / self.camera.rate):
                self.camera.sent += 1
                payload = _rtp_jpeg(self.camera.sent, self.camera.side)
                stamp = int(number * CLOCK / self.camera.rate)
                packet = struct.pack(">BBHII", 0x80, 26 | 0x80, number & 0xFFFF, stamp & 0xFFFFFFFF, 1) + payload
                self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                number += 1
        except OSError:
            pass  # the reader has gone


def _rtp_jpeg(number: int, side: int) -> bytes:
    """A picture as one RTP/JPEG payload: type 1 (4:2:0), its own quantisation tables, the scan without markers."""
    content = cv2.imencode(".jpg", picture(number, side))[1].tobytes()
    tables, at = b"", 2
    while content[at + 1] != 0xDA:
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        if content[at + 1] == 0xDB:
            tables += content[at + 5 : at + 2 + length]
        at += 2 + length
    scan = content[at + 2 + int.from_bytes(content[at + 2 : at + 4], "big") : -2]
    head = struct.pack(">IBBBB", 0, 1, 255, side // 8, side // 8)
    return head + struct.pack(">BBH", 0, 0, len(tables)) + tables + scan
