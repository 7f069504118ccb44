"""What hostile clients, and pages of other sites, send: each is refused with its code, and the server goes on."""

import hashlib
import io
import os
import socket
import struct
import zlib

import pytest
from PIL import Image

import pictures
from foveal.cli.verbs import command_of
from foveal.errors import UsageError
from foveal.machine import rss
from foveal.serving.settings import ServeSettings
from foveal.serving.tokens import token_of
from served import TOKEN, serving, status_of


@pytest.fixture(scope="module")
def locked(trained, tmp_path_factory):
    """A server with small limits, and its folder of corrections."""
    folder = tmp_path_factory.mktemp("corrections") / "new"
    limits = {"max_bytes": "200kB", "max_images": 3, "max_pixels": 1_000_000, "max_corrections": 3}
    with serving(
        trained[0], corrections=str(folder), body_timeout="0.5s", header_timeout="0.5s", **limits
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def still_alive(locked, png):
    """After every test the server answers as before."""
    yield
    assert locked.post(png).status_code == 200


def head(locked, *lines, method="POST", path="/v1/predict", host=None):
    return "\r\n".join(
        (f"{method} {path} HTTP/1.1", f"Host: {host or f'127.0.0.1:{locked.port}'}", *lines, "", "")
    ).encode()


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "user@127.0.0.1", "[::1", ""]
)
def test_a_foreign_host_is_refused_also_one_that_was_rebound_to_this_machine(locked, host):
    for method, path in (("GET", "/"), ("GET", "/v1/model"), ("POST", "/v1/predict")):
        refused = locked.client.request(method, path, headers={"Host": host})
        assert refused.status_code in (400, 421)
        assert "ant" not in refused.text


def test_names_of_this_machine_and_those_allowed_are_answered(locked, trained):
    for host in ("localhost", f"LOCALHOST:{locked.port}", "[::1]:80", "127.0.0.1"):
        assert locked.client.get("/v1/model", headers={"Host": host}).status_code == 200
    with serving(trained[0], allow_host="images.example, other.example") as behind_a_proxy:
        for host, status in (("images.example", 200), ("Other.Example:443", 200), ("third.example", 421)):
            assert behind_a_proxy.client.get("/v1/model", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    "origin", ["null", "http://evil.example", "https://127.0.0.1", "file://", "http://localhost:1"]
)
def test_a_foreign_origin_is_refused(locked, png, origin):
    for method in ("GET", "POST", "OPTIONS"):
        refused = locked.client.request(method, "/v1/predict", headers={"Origin": origin}, content=png)
        assert refused.status_code == 403 and refused.json()["code"] == "foreign_origin"
        assert "access-control-allow-origin" not in refused.headers


def test_the_own_origin_is_answered_and_cross_site_requests_are_not(locked, png):
    own = {"Origin": locked.url, "Content-Type": "image/png"}
    assert locked.client.post("/v1/predict", content=png, headers=own).status_code == 200
    embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert locked.client.get("/metrics", headers=embedded).status_code == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert locked.client.get("/", headers=link).status_code == 200


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
def test_writing_needs_the_token(locked, png, given):
    headers = {} if given is None else {"Authorization": given}
    refused = locked.client.post("/v1/corrections", files={"file": png}, data={"label": "ant"}, headers=headers)
    assert refused.status_code == 401 and refused.json()["code"] == "token"
    assert TOKEN not in refused.text
    assert not locked.service.corrections.folder.exists()


def test_no_page_holds_the_token(locked):
    for path in ("/", "/run", "/docs", "/openapi.json", "/v1/model", "/metrics"):
        assert TOKEN not in locked.client.get(path).text


def test_where_a_token_is_required_all_but_pages_and_health_asks_for_it(trained, png):
    with serving(trained[0], require_token=True) as served:
        for path in ("/v1/model", "/v1/run", "/metrics"):
            assert served.client.get(path).status_code == 401
            assert served.client.get(path, headers=served.authorized).status_code == 200
        assert served.post(png).status_code == 401
        assert all(served.client.get(path).status_code == 200 for path in ("/", "/healthz", "/readyz", "/docs"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.7.7", "images.example"])
def test_other_machines_need_a_token_that_was_given(host, monkeypatch, tmp_path):
    monkeypatch.delenv("FOVEAL_TOKEN", raising=False)
    settings = ServeSettings(host=host)
    with pytest.raises(UsageError) as refused:
        token_of(settings)
    assert "FOVEAL_TOKEN" in refused.value.hint and settings.needs_token
    monkeypatch.setenv("FOVEAL_TOKEN", "short")
    with pytest.raises(UsageError):
        token_of(settings)
    monkeypatch.setenv("FOVEAL_TOKEN", TOKEN)
    assert token_of(settings) == TOKEN
    file = tmp_path / "token"
    file.write_text("another-token-of-a-file\n")
    assert token_of(ServeSettings(host=host, token_file=str(file))) == "another-token-of-a-file"


def test_each_start_has_a_token_of_its_own(monkeypatch):
    monkeypatch.delenv("FOVEAL_TOKEN", raising=False)
    tokens = {token_of(ServeSettings()) for _ in range(20)}
    assert len(tokens) == 20 and min(map(len, tokens)) >= 32


def test_the_command_line_has_no_option_for_the_token_itself():
    assert "token" not in {parameter.name for parameter in command_of("serve").params}


def test_every_response_has_the_headers_that_lock_a_page(locked, png):
    for response in (locked.client.get("/"), locked.post(png), locked.post(b"x"), locked.client.get("/none")):
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd", "/assets/../../settings.py", "/assets/%2e%2e/%2e%2e/settings.py", "/assets//etc/passwd",
        "/assets/..%2f..%2fapp.py", "/page/index.html", "/assets/", "/v1/../v1/run/../../etc/passwd", "/%00",
    ],
)  # fmt: skip
def test_paths_lead_nowhere_else(locked, path):
    answered = locked.raw(head(locked, "Connection: close", method="GET", path=path))
    assert status_of(answered) in (400, 404)
    assert b"import" not in answered and b"root:" not in answered


NAMES = [
    "../../evil.png",
    "/etc/cron.d/evil",
    "..\\..\\evil.png",
    "a\r\nSet-Cookie: x",
    "<img src=x onerror=y>.png",
    "\x00.png",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_clients_name_is_never_a_path(locked, png, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    boundary = b"xyz"
    shown = name.encode().replace(b"\r\n", b"%0D%0A").replace(b"\x00", b"%00")
    body = b'--xyz\r\nContent-Disposition: form-data; name=file; filename="' + shown + b'"\r\n\r\n' + png
    body += b"\r\n--xyz\r\nContent-Disposition: form-data; name=label\r\n\r\nant\r\n--xyz--\r\n"
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary.decode()}", **locked.authorized}
    stored = locked.client.post("/v1/corrections", content=body, headers=kind)
    assert stored.status_code == 200
    files = sorted(p.relative_to(locked.service.corrections.folder).as_posix() for p in _files(locked))
    assert files == [".lock", "corrections.csv", f"images/{hashlib.sha256(png).hexdigest()}.png"]
    assert os.listdir(tmp_path) == []
    answered = locked.client.post("/v1/predict", content=body, headers=kind)
    assert answered.headers["content-type"] == "application/json"


def _files(locked):
    return [p for p in locked.service.corrections.folder.rglob("*") if p.is_file()]


def bomb(side, *, rows):
    """A PNG whose header says so many pixels, of a few kilobytes; `rows` of them are there."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    content = zlib.compress(bytes(rows * (side // 8 + 1)), 9)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [1_001, 30_000, 2**31 - 1])
def test_decompression_bombs_are_refused_before_a_pixel_is_decoded(locked, side):
    content = bomb(side, rows=side if side < 10**6 else 0)
    before = rss()  # after the bomb was built: the memory that this took may not be returned at once
    refused = locked.post(content)
    assert refused.status_code == 422 and refused.json()["code"] in ("too_many_pixels", "broken")
    assert rss() - before < 50e6


def test_zip_bombs_in_other_places_are_refused(locked):
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "PNG")
    text = zlib.compress(bytes(40_000_000), 9)
    data = b"Comment\x00\x00" + text
    chunk = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    content = buffer.getvalue()
    assert locked.post(content[:33] + chunk + content[33:]).status_code in (200, 422)


@pytest.mark.parametrize(
    "page", [b"<script>alert(1)</script>", b"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>"]
)
def test_html_and_svg_are_no_images_and_not_sent_back(locked, page):
    for content in (page, page * 50, b"\xff\xd8\xff\xe0" + page):
        refused = locked.post(content)
        assert refused.status_code == 422
        assert b"<script" not in refused.content and b"<svg" not in refused.content
        assert refused.headers["content-type"] == "application/problem+json"


def test_html_inside_a_jpeg_is_an_image_and_nothing_else(locked):
    page = b"<script>alert(1)</script>"
    content = pictures.encoded(pictures.draw(3), "JPEG", comment=page) + page
    answered = locked.client.post("/v1/predict", files={"file": ("x.html", content, "text/html")})
    assert answered.status_code == 200 and page not in answered.content
    assert answered.headers["content-type"] == "application/json"
    stored = locked.client.post(
        "/v1/corrections", files={"file": ("x.html", content, "text/html")}, data={"label": "bee"},
        headers=locked.authorized,
    )  # fmt: skip
    assert stored.status_code == 200
    assert {p.suffix for p in _files(locked)} <= {".jpg", ".png", ".csv", ""}


def test_addresses_are_text_not_fetched(locked, monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was opened")

    ours = socket.socket.connect

    def connect(self, address):
        return ours(self, address) if address[:2] == ("127.0.0.1", locked.port) else refuse()

    monkeypatch.setattr(socket.socket, "connect", connect)
    for content in (b"http://127.0.0.1:1/x.png", b"file:///etc/passwd", b"/etc/passwd"):
        assert locked.post(content).status_code == 422
        form = locked.client.post("/v1/predict", data={"file": content.decode(), "url": content.decode()})
        assert form.status_code in (415, 422)


@pytest.mark.parametrize("count", [101, 10_000])
def test_very_many_headers_are_refused(locked, count):
    lines = [f"X-{i}: {i}" for i in range(count)]
    assert status_of(locked.raw(head(locked, *lines, method="GET", path="/"))) in (400, 431)


def test_headers_without_end_are_cut_off(locked):
    before = rss()
    endless = b"X-Long: " + b"a" * 3_000_000
    assert status_of(locked.raw(head(locked, method="GET")[:-2] + endless)) in (400, None)
    assert rss() - before < 30e6


def test_a_large_body_is_refused_from_its_length_alone(locked):
    answered = locked.raw(head(locked, "Content-Type: image/png", f"Content-Length: {10**9}"))
    assert status_of(answered) == 413


def test_a_gigabyte_without_a_length_is_cut_off_and_memory_stays_flat(locked):
    before = rss()
    chunk = b"%x\r\n" % 65536 + bytes(65536) + b"\r\n"
    start = head(locked, "Content-Type: image/png", "Transfer-Encoding: chunked")
    sent = 0
    with socket.create_connection(("127.0.0.1", locked.port), timeout=10) as connection:
        connection.sendall(start)
        try:
            while sent < 2**30:
                connection.sendall(chunk)
                sent += 65536
        except OSError:
            pass
    assert sent < 2**30 and rss() - before < 60e6


def test_too_many_images_are_refused(locked, png):
    answered = locked.client.post("/v1/predict", files=[("file", png)] * 4)
    assert answered.status_code == 413 and answered.json()["code"] == "too_many_images"


def test_a_slow_body_is_cut_off(locked):
    answered = locked.raw(head(locked, "Content-Type: image/png", "Content-Length: 1000"), then=b"a" * 10)
    assert status_of(answered) == 408 and b"body_too_slow" in answered


def test_slow_headers_are_cut_off(locked):
    for beginning in (b"", b"GET / HT", head(locked, method="GET")[:-2] + b"X-More: "):
        assert locked.raw(beginning, wait=5) == b""


def test_a_second_request_has_to_be_in_time_as_well(locked):
    with socket.create_connection(("127.0.0.1", locked.port), timeout=5) as connection:
        connection.sendall(head(locked, method="GET", path="/healthz"))
        while b"ok\n" not in connection.recv(65536):
            pass
        connection.sendall(b"GET /healthz HT")
        assert connection.recv(65536) == b""


PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
FIELD = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", PART + b"abc\r\n--x--\r\n"),
        ("multipart/form-data; boundary=", b""),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"no boundary at all"),
        ("multipart/form-data; boundary=x", PART + b"never ends"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\nnameless\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\n: : :\r\n\r\n\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 10_000 + b"\r\nabc\r\n--x--\r\n"),
        ("multipart/form-data; boundary=" + "y" * 5000, b"--" + b"y" * 5000 + b"--\r\n"),
        ("multipart/form-data; boundary=x", (PART + b"\r\n") * 500 + b"--x--\r\n"),
        ("multipart/form-data; boundary=x", FIELD + b"a" * 99_999 + b"\r\n--x--"),
        ("multipart/form-data; boundary=x; charset=nonsense", PART + b"abc\r\n--x--\r\n"),
    ],
)  # fmt: skip
def test_malformed_forms_are_refused(locked, kind, body):
    refused = locked.client.post("/v1/predict", content=body, headers={"Content-Type": kind})
    assert refused.status_code in (400, 413, 422)
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5, 6",),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        ("Transfer-Encoding: xchunked",),
        ("Content-Length: +5",),
        ("Content-Length: 0x5",),
        ("Content-Length: -1",),
        ("Content-Length : 5",),
    ],
)
def test_two_lengths_and_other_ways_to_smuggle_a_request_are_refused(locked, lines):
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answered = locked.raw(head(locked, "Content-Type: image/png", *lines) + b"0\r\n\r\n", then=smuggled)
    assert status_of(answered) in (400, 501)
    assert answered.count(b"HTTP/1.1 ") == 1 and b"ok\n" not in answered


def test_corrections_are_limited_in_number_and_to_images_and_classes(locked):
    def correct(content, label="cat"):
        files, data = {"file": content}, {} if label is None else {"label": label}
        answered = locked.client.post("/v1/corrections", files=files, data=data, headers=locked.authorized)
        return answered.status_code, answered.json().get("code")

    image = pictures.encoded(pictures.draw(50))
    assert correct(image, "not a class") == correct(image, None) == (422, "unknown_label")
    assert correct(b"nonsense")[0] == correct(image[:-100])[0] == 422
    codes = [correct(pictures.encoded(pictures.draw(60 + i)))[0] for i in range(5)]
    assert codes[-1] == 409 and len(list((locked.service.corrections.folder / "images").iterdir())) == 3


def test_control_characters_are_harmless_in_the_log(locked, caplog):
    with caplog.at_level("INFO", "foveal.serving"):
        locked.raw(head(locked, "Connection: close", method="GET", path="/%1b%5b31m/\x7f"))
        locked.client.get("/%0d%0aforged%202026")
    lines = [record.getMessage() for record in caplog.records if record.name == "foveal.serving"]
    assert lines and all(line.isprintable() for line in lines)
