"""The server of `foveal label`: who may ask it, what it says of images, and what it never does."""

import contextlib
import io
import json
import os
import threading
import time

import httpx
import pytest
from PIL import Image

import pictures
from foveal.cli.main import app as commands
from foveal.data.sources.unlabelled import list_unlabelled
from foveal.errors import UsageError
from foveal.labelling.journal import Journal
from foveal.labelling.reading import Reading
from foveal.labelling.session import Session
from foveal.serving.label_api import create_label_app
from foveal.serving.label_service import LabelService
from foveal.serving.launch import listen
from foveal.serving.server import Server
from foveal.serving.settings import ServeSettings
from served import TOKEN

HOSTILE = ("<script>alert(1)<.png", "\u202egpj.exe.png", "\x1b[31mred.png", "=cmd|calc.png", "x" * 240 + ".png")


@contextlib.contextmanager
def labelling(folder, table, goal=5):
    """A running server of a session on a folder, with all images read: its service, and a client with the token."""
    settings = ServeSettings(port=0, stop_notice="0.001s", drain="1s", require_token=True)
    with Journal(table) as journal, listen(settings) as listening:
        session = Session(journal, table, goal=goal)
        reading = Reading(list_unlabelled(folder), session)
        service = LabelService(session, reading, settings)
        server = Server(create_label_app(service, TOKEN), service)
        reading.start()
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        reading.join()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        with httpx.Client(
            base_url=url, timeout=30, trust_env=False, headers={"Authorization": f"Bearer {TOKEN}"}
        ) as client:
            try:
                yield service, client
            finally:
                server.should_exit = True
                thread.join()


@pytest.fixture(scope="module")
def folder(photos, tmp_path_factory):
    """Images of three classes in one folder, hostile names among them, and a file that is none."""
    made = tmp_path_factory.mktemp("unlabelled")
    for name in ("ant", "bee", "cat"):
        for path in sorted((photos / name).iterdir())[:16]:
            (made / f"{name}-{path.name}").write_bytes(path.read_bytes())
    for number, name in enumerate(HOSTILE):
        (made / name).write_bytes(pictures.encoded(pictures.draw(900 + number)))
    with open(os.fsencode(made) + b"/not-\xff-utf8.png", "wb") as stream:
        stream.write(pictures.encoded(pictures.draw(950)))
    (made / "broken.jpg").write_bytes(b"no image")
    return made


@pytest.fixture(scope="module")
def running(folder, tmp_path_factory):
    with labelling(folder, tmp_path_factory.mktemp("labels") / "labels.csv") as made:
        yield made


def act(client, **action):
    return client.post("/v1/label/actions", json=action)


def test_nothing_is_told_without_the_token(running):
    _, client = running
    for path in ("/v1/label", "/v1/label/review?label=a", "/v1/images/0"):
        for headers in ({"Authorization": ""}, {"Authorization": "Bearer wrong-token-of-this-test"}):
            refused = client.get(path, headers=headers)
            assert refused.status_code == 401 and refused.json()["code"] == "token"
        assert client.get(path).status_code == 200
    before = client.get("/v1/label").json()["progress"]
    refused = client.post("/v1/label/actions", json={"do": "undo"}, headers={"Authorization": ""})
    assert refused.status_code == 401
    assert client.get("/v1/label").json()["progress"] == before


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
    ],
)
def test_other_pages_are_refused_also_with_the_token(running, headers, status):
    _, client = running
    for path in ("/v1/label", "/v1/images/0"):
        assert client.get(path, headers=headers).status_code == status
    assert client.post("/v1/label/actions", json={"do": "undo"}, headers=headers).status_code == status


def test_the_page_loads_nothing_from_elsewhere(running):
    _, client = running
    page = client.get("/", headers={"Authorization": ""})
    assert page.status_code == 200 and "http://" not in page.text and "https://" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert client.get("/v1/label").headers["cache-control"] == "no-store"


def test_images_are_known_by_number_only(running, folder):
    service, client = running
    answer = client.get("/v1/images/0")
    image = Image.open(io.BytesIO(answer.content))
    assert answer.headers["content-type"] == "image/jpeg" and max(image.size) <= 224
    for path in ("/v1/images/999", "/v1/images/-1", "/v1/images/..%2f..%2fetc%2fpasswd", "/v1/images/broken.jpg"):
        assert client.get(path).status_code == 404
    assert len(service.session.catalog.records) == len(list(folder.iterdir())) - 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b'{"do": "delete"}',
        b'{"do": "label", "label": "ant", "images": ["../x"]}',
        b'{"do": "label", "label": "ant", "images": [99999]}',
        b'{"do": "label", "label": "ant"}',
        b'{"do": "label", "label": "", "images": [0]}',
        b'{"do": "rename", "label": "none", "new": "ant"}',
        b'{"do": "undo", "path": "/etc/passwd"}',
        b'{"do": "label", "label": "\\ud800", "images": [0]}',
    ],
)
def test_an_action_that_makes_no_sense_changes_nothing(running, body):
    service, client = running
    before = service.session.table.read_bytes()
    assert client.post("/v1/label/actions", content=body).status_code == 422
    assert service.session.table.read_bytes() == before


def test_a_body_that_is_too_large_is_refused(running):
    _, client = running
    assert client.post("/v1/label/actions", content=b" " * (2 << 20)).status_code == 413


def test_a_group_that_is_gone_is_a_conflict(running):
    _, client = running
    assert client.get("/v1/label?group=g999").status_code == 409
    assert act(client, do="split", group="<script>").status_code == 409


def test_hostile_names_are_readable_and_harmless(running):
    _, client = running
    groups = [g["name"] for g in client.get("/v1/label").json()["progress"]["groups"]]
    names = {
        image["name"]
        for group in groups
        for image in client.get("/v1/label", params={"group": group}).json()["current"]["images"]
    }
    assert {"<script>alert(1)<.png", r"\u202egpj.exe.png", r"\x1b[31mred.png", r"not-\xff-utf8.png"} <= names
    assert "x" * 240 + ".png" in names
    assert all(name.isprintable() for name in names)


def test_actions_are_in_the_table_when_they_are_answered(running, folder):
    service, client = running
    shown = client.get("/v1/label").json()["current"]
    images = [image["image"] for image in shown["images"]]
    before = sorted(folder.iterdir())
    answer = act(client, do="label", label="=ant", images=images[:-1], others=images[-1:]).json()
    assert answer["progress"]["classes"] == [{"label": "=ant", "images": len(images) - 1}]
    rows = service.session.table.read_text(errors="surrogateescape").splitlines()
    assert len(rows) == len(images) and all(",'=ant," in row for row in rows[1:])
    review = client.get("/v1/label/review", params={"label": "=ant"}).json()
    assert {image["image"] for image in review["images"]} == set(images[:-1]) and review["total"] == len(
        images
    ) - 1
    assert act(client, do="undo").json()["done"].startswith("Undone")
    assert len(service.session.table.read_text().splitlines()) == 1
    assert sorted(folder.iterdir()) == before


def test_a_folder_without_a_readable_image_ends_with_what_is_wrong(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"no image")
    with labelling(tmp_path / "images", tmp_path / "labels.csv") as (_, client):
        shown = client.get("/v1/label").json()
        assert shown["current"] is None and shown["progress"]["refused"] == 1


@pytest.fixture
def run_command(tmp_path, monkeypatch):
    """The command, with the server replaced: it would run until a signal."""
    begun = []
    monkeypatch.setattr(
        "foveal.serving.label_launch.serve_labelling", lambda given, _, ready: (begun.append(given), ready())
    )

    def run(*arguments):
        commands(["label", *map(str, arguments), "--port", "0"], standalone_mode=False)
        return begun[-1]

    monkeypatch.chdir(tmp_path)
    return run


def test_the_command_says_where_it_is(run_command, folder, capsys):
    given = run_command(folder, "--json", "--goal", "7")
    printed = json.loads(capsys.readouterr().out)
    assert printed["schema"] == 1 and printed["out"] == "labels.csv" and printed["token"] == given.token
    assert printed["url"].startswith("http://127.0.0.1:") and printed["images"] == len(list(folder.iterdir()))
    assert given.goal == 7 and given.settings.needs_token


def test_a_table_of_somebody_else_is_kept(run_command, folder, tmp_path, monkeypatch):
    (tmp_path / "labels.csv").write_text("path,label\na.jpg,ant\n")
    with pytest.raises(UsageError, match=r"labels\.csv"):
        run_command(folder)
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "a.png").write_bytes(pictures.encoded(pictures.draw(1)))
    monkeypatch.chdir(tmp_path / "inside")
    with pytest.raises(UsageError, match="among the images"):
        run_command(tmp_path / "inside")
    assert run_command(tmp_path / "inside", "--out", "labels.csv").table.name == "labels.csv"


def test_other_machines_need_a_token_of_the_owner(run_command, folder):
    with pytest.raises(UsageError, match=r"0\.0\.0\.0"):
        run_command(folder, "--host", "0.0.0.0")
