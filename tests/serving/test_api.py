"""What the API answers to requests that are all right, and to those that are not."""

import base64
import io

import pytest
from PIL import Image

from foveal.inference.classifier import ClassificationPredictor


def test_an_image_as_the_body_has_the_prediction_of_predict(served, trained, ants):
    for content in ants.values():
        [answer] = served.post(content).json()["predictions"]
        [expected] = ClassificationPredictor.load(trained[0]).stream([content])
        assert answer["label"] == expected.label and answer["set"] == list(expected.set)
        assert answer["probability"] == pytest.approx(expected.probability, abs=1e-5)
        assert answer.get("unknown") is expected.unknown
        assert [c["label"] for c in answer["topk"]] == [label for label, _ in expected.topk]


def test_a_form_of_several_images_is_answered_in_their_order(served, ants):
    files = [("file", (name, content)) for name, content in ants.items()]
    answers = served.client.post("/v1/predict?topk=2", files=files).json()["predictions"]
    assert [a["name"] for a in answers] == list(ants)
    assert all(len(a["topk"]) == 2 for a in answers)


def test_an_image_that_cant_be_read_has_an_error_beside_the_others(served, png):
    files = [("file", ("good.png", png)), ("file", ("bad.png", b"not an image at all"))]
    good, bad = served.client.post("/v1/predict", files=files).json()["predictions"]
    assert good["label"] and bad["error"]["code"] == "not_a_picture"


def test_no_readable_image_is_422_with_its_reason(served):
    alone = served.post(b"nonsense")
    assert alone.status_code == 422 and alone.json()["code"] == "not_a_picture"
    both = served.client.post("/v1/predict", files=[("file", b"nonsense"), ("file", b"more of it")])
    assert both.status_code == 422 and both.json()["code"] == "no_readable_image"


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"content": b"", "headers": {"Content-Type": "image/png"}}, 422, "no_image"),
        ({"content": b"{}", "headers": {"Content-Type": "application/json"}}, 415, "media_type"),
        ({"data": {"label": "ant"}, "files": {"other": b"x"}}, 422, "unknown_field"),
        ({"content": b"x", "params": {"topk": 0}}, 422, "invalid_parameter"),
        ({"content": b"x", "params": {"map": "perhaps"}}, 422, "invalid_parameter"),
    ],
)
def test_refusals_are_problem_documents(served, request_, status, code):
    response = served.client.post("/v1/predict", **request_)
    problem = response.json()
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["hint"] and problem["detail"] and problem["title"]


def test_unknown_paths_and_methods_are_problem_documents(served):
    assert served.client.get("/v2/predict").json()["code"] == "not_found"
    assert served.client.get("/v1/predict").json()["code"] == "method_not_allowed"


def test_the_model_describes_itself(served, trained):
    model = served.client.get("/v1/model").json()
    bundle = served.service.manifest
    assert model["classes"] == list(bundle.classes) == ["ant", "bee", "cat"]
    assert model["sha256"] == bundle.weights_sha256
    assert model["limits"]["max_images"] == served.service.settings.max_images


def test_a_heat_map_shows_the_predicted_class(served, ants):
    content = next(iter(ants.values()))
    [answer] = served.post(content, params={"map": True}).json()["predictions"]
    assert answer["map"]["label"] == answer["label"]
    rows, columns = answer["map"]["shape"]
    assert rows > 1 and columns > 1
    for name in ("heat", "likeliest"):
        drawn = Image.open(io.BytesIO(base64.b64decode(answer["map"][name].partition(",")[2])))
        assert drawn.format == "JPEG" and min(drawn.size) > 100


def test_the_run_is_shown_with_intervals_and_without_the_place_of_the_data(served, trained, photos):
    text = served.client.get("/v1/run").text
    run = served.client.get("/v1/run").json()
    assert run["test"]["accuracy_ci95"] == list(trained[1]["test"]["accuracy_ci95"])
    assert run["left_out_counts"] == {} or sum(run["left_out_counts"].values()) == trained[1]["data"]["excluded"]
    assert str(photos) not in text


def test_metrics_count_requests_and_images(served, png):
    def value(name):
        lines = served.client.get("/metrics").text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)

    outcomes = ("known", "unreadable")
    before = [value(f'foveal_images_total{{outcome="{outcome}"}}') for outcome in outcomes]
    served.post(png)
    served.post(b"nonsense")
    assert [value(f'foveal_images_total{{outcome="{outcome}"}}') for outcome in outcomes] == [
        n + 1 for n in before
    ]
    assert value("foveal_ready") == 1 and value("foveal_images_waiting") == 0
    assert value("foveal_score_count") >= before[0] + 1


def test_paths_that_clients_make_up_are_not_counted_by_name(served):
    served.client.get("/made-up-by-a-client")
    assert "made-up" not in served.client.get("/metrics").text


def test_health_and_readiness(served):
    assert served.client.get("/healthz").status_code == served.client.get("/readyz").status_code == 200


def test_names_are_only_shown_and_harmless(served, png):
    names = ["../../etc/passwd", "C:\\windows\\win.ini", "\x1b[31mred", "a" * 1000]
    files = [("file", (name, png)) for name in names]
    shown = [a["name"] for a in served.client.post("/v1/predict", files=files).json()["predictions"]]
    assert shown[:2] == ["passwd", "win.ini"]
    assert not any("\x1b" in name or "/" in name or len(name) > 300 for name in shown)
