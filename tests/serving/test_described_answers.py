"""The server keeps to its OpenAPI document, whatever is sent: schemathesis makes the requests."""

import hypothesis
import pytest

from foveal.serving.api import Api
from foveal.serving.openapi import document
from served import TOKEN, serving

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")


@pytest.fixture(scope="module")
def served(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("corrections")
    with serving(trained[0], corrections=str(folder), max_corrections=5) as running:
        running.service.maps = None  # they would load PyTorch, and have tests of their own
        yield running


def test_all_routes_are_described_and_nothing_else():
    described = {(path, method.upper()) for path, methods in document()["paths"].items() for method in methods}
    routes = {(r.path, m) for r in Api(None).routes for m in r.methods if m != "HEAD"}
    assert routes - {("/openapi.json", "GET")} == described


@schemathesis.openapi.from_dict(document()).parametrize()
@hypothesis.settings(max_examples=10, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
def test_answers_are_as_described_and_never_5xx_but_503_and_504(case, served):
    response = case.call(base_url=served.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=120)
    assert response.status_code < 500 or response.status_code in (503, 504)
    # Random bytes are no image: that they are refused is right.
    case.validate_response(
        response,
        checks=[
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_schema_conformance,
        ],
    )
