"""The OpenAPI document: the paths are written down here, the JSON is that of `schemas`; schemathesis holds the server
to both.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from foveal.serving.problems import MEDIA_TYPE
from foveal.serving.schemas import Drift, Model, Predictions, ProblemDocument, Stored
from foveal.version import __version__

_REF = "#/components/schemas/{name}"
_FILE = {"type": "string", "format": "binary"}
_JSON, _TEXT = "application/json", "text/plain"

_PREDICT = """Send a form with fields named `file`, or one image as the body.

An image that can't be read has an `error` in its answer; where none can be read the status is 422. 503 with
`Retry-After` means that as many images are waiting as may wait, 504 that the deadline passed."""
_MODEL = "Its classes, the hash of its weights, what it can tell, and the limits of this server."
_RUN = "Its figures with 95 % intervals as in summary.json, and what was left out."
_DRIFT = "The scores of the last images beside those of the validation images, and whether they differ."
_HEALTH = "Always `ok`, while the process answers."
_READY = "`ok`; 503 while the model is loaded, and from the moment on that the server is asked to stop."
_METRICS = "In the text format of Prometheus."
#: How many classes an answer lists, at most and by default.
MOST_CLASSES, SHOWN_CLASSES = 1000, 5


@cache
def document() -> dict[str, Any]:
    """The document, OpenAPI 3.1."""
    _, components = msgspec.json.schema_components(
        [Predictions, Model, Drift, Stored, ProblemDocument], ref_template=_REF
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "foveal",
            "version": __version__,
            "description": "Predictions of a model that foveal trained. Every error is a problem document (RFC 9457) "
            "with a stable code, words and a hint.",
        },
        "paths": {
            "/v1/predict": {"post": _predict()},
            "/v1/model": {"get": _read("model", "What the model is", _MODEL, _responses(Model))},
            "/v1/run": {"get": _read("run", "The run behind the model", _RUN, _responses(None))},
            "/v1/drift": {
                "get": _read("drift", "Are the images like those of the training?", _DRIFT, _responses(Drift))
            },
            "/v1/corrections": {"post": _correct()},
            "/healthz": {"get": _read("health", "Is the process alive?", _HEALTH, _responses(None, _TEXT))},
            "/readyz": {"get": _read("ready", "Should requests be sent here?", _READY, _responses(None, _TEXT))},
            "/metrics": {"get": _read("metrics", "Counters for Prometheus", _METRICS, _responses(None, _TEXT))},
        },
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _predict() -> dict[str, Any]:
    files = {"type": "array", "items": _FILE, "minItems": 1}
    topk = {"type": "integer", "minimum": 1, "maximum": MOST_CLASSES, "default": SHOWN_CLASSES}
    return {
        "operationId": "predict",
        "summary": "Predict labels, or masks, for one image or several",
        "description": _PREDICT,
        "parameters": [
            _query("topk", "How many classes an answer lists.", topk),
            _query("map", "Draw a heat map for each image. Takes longer.", {"type": "boolean", "default": False}),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": _form(file=files)},
                **{kind: {"schema": _FILE} for kind in ("application/octet-stream", "image/jpeg", "image/png")},
            },
        },
        "responses": _responses(Predictions),
    }


def _correct() -> dict[str, Any]:
    form = _form(file=_FILE, label={"type": "string"})
    return {
        "operationId": "correct",
        "summary": "Store an image with its right label",
        "description": "A form with one `file` and its `label`, one of the model's classes. Needs the token.",
        "security": [{"token": []}],
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
        "responses": _responses(Stored),
    }


def _read(name: str, summary: str, description: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"operationId": name, "summary": summary, "description": description, "responses": responses}


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _form(**fields: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"type": "object", "properties": fields, "required": list(fields)}


def _responses(answer: type | None, media_type: str = _JSON) -> dict[str, Any]:
    schema = {} if answer is None else {"schema": {"$ref": _REF.format(name=answer.__name__)}}
    problem = {"schema": {"$ref": _REF.format(name=ProblemDocument.__name__)}}
    return {
        "200": {"description": "Done.", "content": {media_type: schema}},
        "default": {"description": "A problem document.", "content": {MEDIA_TYPE: problem}},
    }
