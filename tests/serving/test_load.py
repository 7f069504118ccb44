"""Batches, the bounded queue, deadlines, and stopping."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from foveal.inference.bundle import load_bundle
from served import Gated, serving


@pytest.fixture
def gated(trained):
    return Gated(load_bundle(trained[0]))


def wait_until(condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
    assert condition()


def test_images_that_wait_together_are_computed_together(trained, gated, png):
    with serving(trained[0], gated) as served, ThreadPoolExecutor(8) as clients:
        first = clients.submit(served.post, png)
        wait_until(lambda: served.service.batcher.waiting == 1)
        others = [clients.submit(served.post, png) for _ in range(7)]
        wait_until(lambda: served.service.batcher.waiting == 8)
        time.sleep(0.2)  # for the decoders
        gated.gate.set()
        answers = [f.result().json()["predictions"] for f in (first, *others)]
    assert {answer["label"] for [answer] in answers} == {answers[0][0]["label"]}
    assert sum(gated.batches) == 8 and len(gated.batches) <= 4


def test_a_full_queue_is_503_with_retry_after_and_empties_again(trained, gated, png):
    with serving(trained[0], gated, queue=4, max_images=3) as served, ThreadPoolExecutor(4) as clients:
        waiting = [clients.submit(served.post, png) for _ in range(3)]
        wait_until(lambda: served.service.batcher.waiting == 3)
        refused = served.client.post("/v1/predict", files=[("file", png)] * 2)
        assert refused.status_code == 503 and refused.json()["code"] == "queue_full"
        assert int(refused.headers["retry-after"]) >= 1
        gated.gate.set()
        assert [f.result().status_code for f in waiting] == [200] * 3
        assert served.service.batcher.waiting == 0
        assert served.client.post("/v1/predict", files=[("file", png)] * 3).status_code == 200


def test_the_deadline_includes_the_wait_and_frees_the_queue(trained, gated, png):
    with serving(trained[0], gated, deadline="0.3s") as served:
        late = served.post(png)
        assert late.status_code == 504 and late.json()["code"] == "deadline"
        gated.gate.set()
        wait_until(lambda: served.service.batcher.waiting == 0)
        assert served.post(png).status_code == 200


def test_what_nobody_waits_for_is_not_computed(trained, gated, png):
    with serving(trained[0], gated, deadline="0.3s", max_batch=1) as served, ThreadPoolExecutor(6) as clients:
        assert [r.status_code for r in clients.map(served.post, [png] * 6)] == [504] * 6
        gated.gate.set()
        wait_until(lambda: served.service.batcher.waiting == 0)
    assert sum(gated.batches) < 6


def test_a_fault_of_the_model_is_500_for_its_requests_only(trained, gated, png):
    computed = gated.predict_prepared
    gated.gate.set()
    with serving(trained[0], gated) as served:
        gated.predict_prepared = lambda *_, **__: 1 / 0
        failed = served.post(png)
        assert failed.status_code == 500 and failed.json()["code"] == "internal"
        assert "division" not in failed.text
        gated.predict_prepared = computed
        assert served.post(png).status_code == 200


def test_stopping_answers_what_is_in_progress(trained, gated, png):
    with serving(trained[0], gated, stop_notice="0.4s") as served, ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(served.post, png)
        wait_until(lambda: served.service.batcher.waiting == 1)
        served.server.handle_exit(15, None)
        not_ready = httpx.get(f"{served.url}/readyz", trust_env=False)
        assert not_ready.status_code == 503 and not_ready.json()["code"] == "stopping"
        wait_until(lambda: served.server.should_exit)
        threading.Timer(0.2, gated.gate.set).start()
        assert waiting.result().status_code == 200
        wait_until(lambda: _is_refused(served.url))


def _is_refused(url):
    try:
        httpx.get(f"{url}/healthz", timeout=1, trust_env=False)
    except httpx.TransportError:
        return True
    return False


def test_the_event_loop_stays_free_while_images_are_decoded(trained, gated, png, monkeypatch):
    began, go_on = threading.Event(), threading.Event()
    prepare = gated.prepare

    def slow(*args, **kwargs):
        began.set()
        go_on.wait(20)
        return prepare(*args, **kwargs)

    gated.gate.set()
    gated.prepare = slow
    with serving(trained[0], gated) as served, ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(served.post, png)
        assert began.wait(20)
        assert served.client.get("/healthz").status_code == 200
        go_on.set()
        assert waiting.result().status_code == 200


def test_each_answer_has_as_many_classes_as_its_request_asked_for(trained, gated, png):
    with serving(trained[0], gated) as served, ThreadPoolExecutor(3) as clients:
        waiting = [clients.submit(served.post, png, params={"topk": n}) for n in (1, 2, 3)]
        wait_until(lambda: served.service.batcher.waiting == 3)
        gated.gate.set()
        assert [len(f.result().json()["predictions"][0]["topk"]) for f in waiting] == [1, 2, 3]
