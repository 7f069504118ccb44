"""LitServe with its batching, and foveal's engine.

python serving_litserve.py litserve RUN PORT
"""

import sys
from typing import Any

import litserve as ls

from foveal.inference.classifier import ClassificationPredictor

BATCH, WAIT = 16, 0.005


class Api(ls.LitAPI):  # type: ignore[misc]
    """A whole batch is decoded and computed by `stream`, in several threads."""

    def setup(self, device: str) -> None:
        """In the worker."""
        self.predictor = ClassificationPredictor.load(sys.argv[2])
        self.predictor.warm_up()

    def decode_request(self, request) -> bytes:  # type: ignore[no-untyped-def]  # noqa: ANN001  (LitServe reads the annotation)
        """The file of the form."""
        content: bytes = request["file"].file.read()
        return content

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        """As it is."""
        return inputs

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """As it is."""
        return output

    def predict(self, contents: list[bytes]) -> list[dict[str, Any]]:
        """The answers of a batch."""
        return [p.to_dict() for p in self.predictor.stream(contents)]

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """As foveal answers."""
        return {"predictions": [output]}


if __name__ == "__main__":
    api = Api(max_batch_size=BATCH, batch_timeout=WAIT, api_path="/v1/predict")
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=int(sys.argv[3]), host="127.0.0.1", log_level="warning", generate_client_file=False)
