"""The server of the page: on this machine's loopback alone, behind a token in its address.

The standard library serves it, one thread for each connection of a browser. Every request is refused
that lacks the token, that was meant for another host (a name an attacker points here), or that another
site's page sent. The page loads nothing from anywhere else.
"""

import hmac
import json
import secrets
import struct
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from raymark.core.errors import InputError
from raymark.core.sections import checked
from raymark.viewer.about import about
from raymark.viewer.frames import Asked, Frames, picture
from raymark.viewer.shown import Shown
from raymark.viewer.slices import slice_picture
from raymark.viewer.view_set import Around, planned

HOST = "127.0.0.1"
PAGE = {
    "": ("index.html", "text/html; charset=utf-8"),
    "view.css": ("view.css", "text/css; charset=utf-8"),
    "view.js": ("view.js", "text/javascript; charset=utf-8"),
}
MOST_BYTES = 100_000  # of a request; a page's are below 2,000
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Viewer(ThreadingHTTPServer):
    """Answers a page about `shown` at `address`, until `shutdown`."""

    daemon_threads = True

    def __init__(self, shown: Shown, port: int = 0):
        """Listen on `port` of the loopback, 0 for a free one."""
        super().__init__((HOST, port), _Handler)
        self.shown, self.frames = shown, Frames(shown)
        self.token = secrets.token_urlsafe(24)

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> set[str]:
        return {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    def warm_up(self) -> None:
        """Render one frame of each kind, so that the first one asked for does not wait."""
        start = about(self.shown)["start"]
        for live in (True, False):
            self.frames.frame(checked(Asked, start | {"live": live}, "the first view"))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where a browser no longer waits for its answer."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    # What a page may ask for; each returns the type of its answer and the answer.

    def about(self, _: Any) -> tuple[str, bytes]:
        return "application/json", _json(about(self.shown))

    def frame(self, values: Any) -> tuple[str, bytes]:
        """Answer with the length of a JSON text (uint32, little-endian), the text, and a JPEG."""
        asked = checked(Asked, values, "the view")
        frame = self.frames.frame(asked)
        told = _json(self.frames.told(asked, frame))
        content = struct.pack("<I", len(told)) + told + picture(frame.image_yx)
        return "application/octet-stream", content

    def detections(self, values: Any) -> tuple[str, bytes]:
        asked = checked(Asked, values, "the view")
        return "application/json", _json(self.frames.detections(asked))

    def view_set(self, values: Any) -> tuple[str, bytes]:
        if not isinstance(values, dict) or {*values} != {"view", "around"}:
            raise InputError("the view set", "is not what this page sends", "Load the page again")
        asked = checked(Asked, values["view"], "the view")
        around = checked(Around, values["around"], "the views around it")
        return "application/json", _json(planned(self.shown, asked, around))

    def slice(self, query: dict[str, str]) -> tuple[str, bytes]:
        return "image/jpeg", slice_picture(self.shown, query.get("kind", ""), _index(query))

    def xray(self, query: dict[str, str]) -> tuple[str, bytes]:
        """Answer with the X-ray of a pose."""
        number, poses = _index(query), self.shown.poses
        image_yx = poses[number].image_yx if 0 <= number < len(poses) else None
        if image_yx is None:
            raise InputError(
                "the X-ray", "is not there", "Start `raymark view` where its file lies"
            )
        return "image/jpeg", picture(image_yx)


ANSWERS: dict[tuple[str, str], Callable[[Viewer, Any], tuple[str, bytes]]] = {
    ("GET", "about"): Viewer.about,
    ("GET", "slice"): Viewer.slice,
    ("GET", "xray"): Viewer.xray,
    ("POST", "frame"): Viewer.frame,
    ("POST", "detections"): Viewer.detections,
    ("POST", "view-set"): Viewer.view_set,
}


class _Handler(BaseHTTPRequestHandler):
    server: Viewer
    protocol_version = "HTTP/1.1"  # a browser keeps its connection
    disable_nagle_algorithm = True  # a frame is not held back for the next packet
    server_version, sys_version = "raymark", ""
    timeout = 600

    def do_GET(self) -> None:
        split = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(split.query).items()}
        self._answer("GET", split.path, lambda: query)

    def do_POST(self) -> None:
        self._answer("POST", urlsplit(self.path).path, self._body)

    def _answer(self, method: str, path: str, values: Callable[[], Any]) -> None:
        name = self._allowed(path)
        if name is None:
            return self._send(
                HTTPStatus.FORBIDDEN, "text/plain", b"Open the address that was printed"
            )
        if method == "GET" and name in PAGE:
            file, kind = PAGE[name]
            content = files("raymark.viewer").joinpath("page", file).read_bytes()
            return self._send(HTTPStatus.OK, kind, content)
        if (method, name) not in ANSWERS:
            return self._send(HTTPStatus.NOT_FOUND, "text/plain", b"There is no such thing here")
        try:
            kind, content = ANSWERS[method, name](self.server, values())
        except InputError as error:
            return self._send(
                HTTPStatus.BAD_REQUEST, "text/plain; charset=utf-8", str(error).encode()
            )
        self._send(HTTPStatus.OK, kind, content)

    def _allowed(self, path: str) -> str | None:
        """Return what is asked for below the token; None where the request is none of our page's."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        token, slash, name = path.removeprefix("/").partition("/")
        own = origin is None or origin.removeprefix("http://") in self.server.hosts
        known = hmac.compare_digest(token.encode(), self.server.token.encode())
        return name if host in self.server.hosts and own and known and slash else None

    def _body(self) -> Any:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self.close_connection = True
            raise InputError("the request", "has no length, or is too long", "Load the page again")
        try:
            return json.loads(self.rfile.read(int(length)))
        except ValueError:
            raise InputError("the request", "is no JSON", "Load the page again") from None

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        if status == HTTPStatus.FORBIDDEN:
            self.close_connection = True  # what it was still to send is not read
        self.send_response(status)
        for key, value in (HEADERS | {"Content-Type": kind}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: a log of addresses would show the token."""


def _json(values: Any) -> bytes:
    return json.dumps(values, allow_nan=False).encode()


def _index(query: dict[str, str]) -> int:
    text = query.get("index", "")
    if not text.lstrip("-").isdecimal() or len(text) > 9:
        raise InputError("index", f"{text[:20]!r} is no number", "Load the page again")
    return int(text)
