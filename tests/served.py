"""A server in a thread of the test, on a free port of the loopback address."""

import contextlib
import socket
import threading
import time

import httpx

from foveal.inference.classifier import ClassificationPredictor
from foveal.serving.answers import answers_of
from foveal.serving.app import create_app
from foveal.serving.launch import listen
from foveal.serving.server import Server
from foveal.serving.service import Service
from foveal.serving.settings import ServeSettings
from foveal.serving.warm_up import WarmUp

TOKEN = "a-token-for-tests-only"


class Served:
    """A running server: its address, its service, and a client."""

    def __init__(self, service, server, port):
        self.service, self.server, self.port = service, server, port
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
        self.authorized = {"Authorization": f"Bearer {TOKEN}"}

    def post(self, content, path="/v1/predict", **more):
        return self.client.post(path, content=content, headers={"Content-Type": "image/png"}, **more)

    def raw(self, request, *, wait=10.0, then=b""):
        """What the server answers to these bytes, until it closes the connection or is silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as connection:
            received = b""
            with contextlib.suppress(OSError):
                connection.sendall(request)
                if then:
                    connection.sendall(then)
            with contextlib.suppress(OSError):
                while chunk := connection.recv(65536):
                    received += chunk
            return received


def status_of(response):
    """The status of a raw response; None where there is none."""
    return int(response.split(b" ", 2)[1]) if response.startswith(b"HTTP/1.1 ") else None


@contextlib.contextmanager
def serving(run, predictor=None, **settings):
    """A running server of a run, ready."""
    made = ServeSettings(port=0, **{"stop_notice": "0.001s", "drain": "1s", **settings})
    predictor = predictor or ClassificationPredictor.load(run)
    answers = answers_of(predictor, max_pixels=made.max_pixels, max_batch=made.max_batch)
    warm_up = WarmUp(answers.warm_up)
    service = Service(str(run), predictor.bundle, answers, warm_up, made)
    listening = listen(made)
    port = listening.getsockname()[1]
    server = Server(create_app(service, TOKEN), service)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    warm_up.join()
    until = time.monotonic() + 30
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    served = Served(service, server, port)
    try:
        yield served
    finally:
        served.client.close()
        server.should_exit = True
        thread.join()
        service.close()


class Gated(ClassificationPredictor):
    """A classifier that computes when `gate` is open; it counts the images of each batch."""

    def __init__(self, bundle):
        super().__init__(bundle)
        self.gate, self.batches = threading.Event(), []

    def predict_prepared(self, names, prepared, *, topk=5):
        self.gate.wait(30)
        self.batches.append(len(names))
        return super().predict_prepared(names, prepared, topk=topk)
