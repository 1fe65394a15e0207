"""The server answers its own page and nobody else, and tells mistakes in one line."""

import http.client
import json
import re
import struct
from importlib.resources import files

import pytest

from raymark.viewer.server import MOST_BYTES, PAGE, Viewer
from tests.unit.viewer.examples import asked, served, shown


@pytest.fixture(scope="module")
def viewer():
    with served(shown()) as server:
        server.warm_up()
        yield server


def request(viewer, method="GET", name="about", *, token=None, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", viewer.server_port, timeout=20)
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    path = f"/{viewer.token if token is None else token}/{name}"
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def view(viewer, **more) -> str:
    return asked(viewer.shown, longest_px=64, **more).model_dump_json()


def test_it_listens_on_the_loopback_alone(viewer):
    assert viewer.socket.getsockname()[0] == "127.0.0.1"
    assert viewer.address.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("token", ["", "wrong", "%C3%BC", "../x"])
@pytest.mark.parametrize(("method", "name"), [("GET", ""), ("GET", "about"), ("POST", "frame")])
def test_a_wrong_token_is_refused(viewer, token, method, name):
    answer, content = request(viewer, method, name, token=token, body="{}" * (method == "POST"))
    assert answer.status == 403
    assert b"beads" not in content


def test_tokens_differ_and_are_long(viewer):
    with Viewer(viewer.shown) as other:
        assert other.token != viewer.token
    assert len(viewer.token) >= 32


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", ""]
)
def test_a_name_that_someone_else_points_here_is_refused(viewer, host):
    answer, _ = request(viewer, Host=host.format(port=viewer.server_port))
    assert answer.status == 403


def test_localhost_is_this_machine(viewer):
    assert request(viewer, Host=f"localhost:{viewer.server_port}")[0].status == 200


@pytest.mark.parametrize(("origin", "status"), [("http://evil.example", 403), ("null", 403),
                                                 ("http://127.0.0.1:{port}", 200)])  # fmt: skip
def test_another_sites_page_is_refused(viewer, origin, status):
    origin = origin.format(port=viewer.server_port)
    assert request(viewer, "POST", "frame", body=view(viewer), Origin=origin)[0].status == status


@pytest.mark.parametrize("name", PAGE)
def test_the_page_is_served_and_loads_nothing_from_elsewhere(viewer, name):
    answer, content = request(viewer, name=name)
    assert answer.status == 200
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Referrer-Policy"] == "no-referrer"  # it would tell the token
    assert not re.search(
        rb"(https?:)?//[a-z]|@import|\son\w+=", re.sub(rb"(?m)(^|\s)//.*$", b"", content)
    )


def test_every_file_of_the_page_is_served():
    lying = {file.name for file in files("raymark.viewer").joinpath("page").iterdir()}
    assert lying == {file for file, _ in PAGE.values()}


@pytest.mark.parametrize("name", ["nothing", "../server.py", "page/view.js", "frame"])
def test_what_is_not_there_is_not_found(viewer, name):
    assert request(viewer, name=name)[0].status == 404


def test_a_frame_brings_its_own_angles_and_landmarks(viewer):
    answer, content = request(viewer, "POST", "frame", body=view(viewer, primary_deg=30.0))
    (length,) = struct.unpack("<I", content[:4])
    told = json.loads(content[4 : 4 + length])
    assert answer.status == 200
    assert told["primary_deg"] == pytest.approx(30)
    assert len(told["points_px"]) == 3
    assert content[4 + length :].startswith(b"\xff\xd8")  # a JPEG


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        ("frame", "{", "the request: is no JSON"),
        ("frame", "[1]", "the view: "),
        ("frame", '{"primary_deg": NaN}', "the view: "),
        ("frame", " " * (MOST_BYTES + 1), "the request: has no length, or is too long"),
        ("view-set", '{"view": {}}', "the view set: is not what this page sends"),
        ("detections", None, "model: was not given"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(viewer, name, body, told):
    answer, content = request(viewer, "POST", name, body=view(viewer) if body is None else body)
    assert answer.status == 400
    assert content.decode().startswith(told)
    assert b"\n" not in content


@pytest.mark.parametrize(
    "name", ["slice?kind=up&index=1", "slice?kind=axial&index=x", "slice", "xray?index=0"]
)
def test_what_is_no_slice_or_xray_is_told(viewer, name):
    assert request(viewer, name=name)[0].status == 400


def test_many_frames_share_a_connection(viewer):
    connection = http.client.HTTPConnection("127.0.0.1", viewer.server_port, timeout=20)
    for degrees in range(5):
        body = view(viewer, primary_deg=float(degrees))
        connection.request("POST", f"/{viewer.token}/frame", body)
        assert connection.getresponse().read()
        assert connection.sock is not None
    connection.close()
