"""The client: typed answers, requests within the server's limits, patience while it is busy."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from foveal.inference.bundle import load_bundle
from foveal.serving.client import Client, ServerError
from served import TOKEN, Gated, serving


@pytest.fixture(scope="module")
def served(trained, tmp_path_factory):
    with serving(trained[0], max_images=3, corrections=str(tmp_path_factory.mktemp("c"))) as running:
        yield running


@pytest.fixture
def client(served):
    with Client(served.url, token=TOKEN) as made:
        yield made


def test_any_number_of_images_is_answered_in_order(client, photos):
    paths = sorted((photos / "ant").iterdir())[:4] + sorted((photos / "bee").iterdir())[:4]
    answers = client.predict([*paths, paths[0].read_bytes()], topk=1)
    assert [a.name for a in answers] == [p.name for p in paths] + ["image 9"]
    assert [a.label for a in answers] == ["ant"] * 4 + ["bee"] * 4 + ["ant"]
    assert all(len(a.topk) == 1 and 0 <= a.probability <= 1 for a in answers)


def test_images_that_cant_be_read_have_their_reasons(client, photos):
    good = (photos / "ant" / "000.jpg").read_bytes()
    for images in ([b"x", good], [good, b"x"], [b"x", good[:1000]]):
        answers = client.predict(images)
        assert [a.error is None for a in answers] == [i is good for i in images]
    with pytest.raises(ServerError) as refused:
        client.predict([b"x"])
    assert (refused.value.status, refused.value.code) == (422, "not_a_picture")


def test_the_model_and_corrections(client, served, photos):
    assert client.model().classes == ("ant", "bee", "cat") and client.is_ready()
    stored = client.correct(photos / "ant" / "000.jpg", "bee")
    assert stored.count == 1 and stored.folder == str(served.service.corrections.folder)
    with Client(served.url, token="wrong") as stranger, pytest.raises(ServerError) as refused:
        stranger.correct(photos / "ant" / "000.jpg", "bee")
    assert refused.value.status == 401


def test_a_busy_server_is_asked_again(trained, photos):
    gated = Gated(load_bundle(trained[0]))
    path = photos / "ant" / "000.jpg"
    with (
        serving(trained[0], gated, queue=1, max_images=1) as served,
        Client(served.url) as client,
        ThreadPoolExecutor(2) as threads,
    ):
        first = threads.submit(client.predict, [path])
        while served.service.batcher.waiting == 0:
            time.sleep(0.01)
        with Client(served.url, retries=0) as impatient, pytest.raises(ServerError) as refused:
            impatient.predict([path])
        assert refused.value.status == 503
        second = threads.submit(client.predict, [path])
        gated.gate.set()
        assert first.result()[0].label == second.result()[0].label == "ant"


def test_no_server_is_an_error_with_a_hint():
    with Client("http://127.0.0.1:9") as client, pytest.raises(ServerError) as refused:
        assert not client.is_ready()
        client.model()
    assert refused.value.status == 0 and refused.value.hint
