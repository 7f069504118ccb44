"""Where networks are trained and run: what may be asked for. Only a CPU is there to test with."""

import sys
from dataclasses import replace

import pytest

from foveal import ImageClassifier, load
from foveal.config import TrainConfig
from foveal.decisions import DEVICE, ENGINE, Decisions
from foveal.devices import check_device, kind_of, require_device, using_device, wanted_device
from foveal.engines.base import EngineSpec
from foveal.engines.registry import available_engines, register_engine
from foveal.engines.torch_engine import best_device
from foveal.errors import UsageError
from foveal.flow import replay, resume, train
from foveal.training.strategies.linear_probe import FROZEN
from foveal.training.strategies.registry import register_strategy
from registered import restored_registries


@pytest.mark.parametrize("text", ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "mps"])
def test_devices(text):
    check_device(text)
    assert TrainConfig(device=text).device == text and kind_of(text) == text.split(":")[0]


@pytest.mark.parametrize(
    ("text", "use"),
    [
        ("0", "cuda:0"),
        ("0,1", "cuda:0"),
        ("gpu", "cuda"),
        ("GPU:1", "cuda:1"),
        ("cuda1", "cuda:1"),
        ("tpu", "cpu"),
        ("", "cpu"),
        ("cuda:", "cuda"),
        ("cuda:x", "cuda"),
    ],
)
def test_what_is_no_device_is_answered_with_one(text, use):
    with pytest.raises(UsageError) as caught:
        TrainConfig(device=text)
    assert use in caught.value.hint


@pytest.fixture
def no_gpu(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("device", ["cuda", "cuda:3", "mps"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(no_gpu, photos, tmp_path, device):
    with pytest.raises(UsageError, match=device) as caught:
        train(photos, TrainConfig(device=device), out=str(tmp_path / "run"))
    assert "cpu" in caught.value.hint and not (tmp_path / "run").exists()


@pytest.mark.parametrize("device", ["cuda:1", "gpu"])
def test_an_estimator_refuses_it_with_the_same_error_before_it_looks_at_images(no_gpu, device):
    def images():
        pytest.fail("it was read before the device was checked")
        yield

    with pytest.raises(UsageError) as expected:
        require_device(TrainConfig(device=device).device)
    with pytest.raises(UsageError) as caught:
        ImageClassifier(device=device).fit(images(), ["a", "b"])
    assert (caught.value.message, caught.value.hint) == (expected.value.message, expected.value.hint)


def test_an_estimator_predicts_on_its_device(trained, photos):
    asked = set()
    noting = EngineSpec("noting", "fp32", lambda: bool(asked.add(wanted_device())), None)
    model = load(trained[0], ImageClassifier).set_params(device="cpu")
    with restored_registries():
        register_engine(noting)
        model.predict(sorted(photos.rglob("*.png"))[:2])
    assert asked == {"cpu"}


def test_the_second_of_one_gpu_is_refused(no_gpu, monkeypatch):
    monkeypatch.setattr(sys.modules["torch"].cuda, "device_count", lambda: 1)
    for device in ("cuda", "cuda:0"):
        require_device(device)
    with pytest.raises(UsageError) as caught:
        require_device("cuda:1")
    assert "cuda:0" in caught.value.hint


def test_what_is_asked_for_holds_inside_and_not_longer(no_gpu, monkeypatch):
    monkeypatch.setattr(sys.modules["torch"].cuda, "device_count", lambda: 2)
    before = [engine.name for engine in available_engines()]
    with using_device("cuda:1"):
        assert (wanted_device(), best_device()) == ("cuda:1", "cuda:1")
        assert [engine.name for engine in available_engines()] == ["torch-fp32"]
    with using_device("cpu"):
        assert best_device() == "cpu" and "torch-fp32" not in [engine.name for engine in available_engines()]
    assert wanted_device() == "auto" and [engine.name for engine in available_engines()] == before


class NotingStrategy:
    """Another strategy under a name of its own, and the devices that it was asked to train on."""

    name, keep_unless_worse, continues = "noting", False, None

    def __init__(self, strategy):
        self._strategy, self.devices = strategy, []

    def refuse(self, context, state):
        return self._strategy.refuse(context, state)

    def estimate(self, context, state):
        return self._strategy.estimate(context, state)

    def fit(self, context, state):
        self.devices.append(wanted_device())
        return replace(self._strategy.fit(context, state), strategy=self.name)


def test_a_run_keeps_its_device_when_it_is_resumed_and_replayed(photos, tmp_path):
    with restored_registries():
        noting = NotingStrategy(FROZEN)
        register_strategy(noting, "pretrained")
        run, _ = train(
            photos, TrainConfig(device="cpu", strategy="noting", test="subset"), out=str(tmp_path / "run")
        )
        again, _ = replay(str(run), out=str(tmp_path / "again"))
        (run / "summary.json").unlink()
        resume(str(run))
    assert noting.devices == ["cpu", "cpu", "cpu"]
    weights = [(folder / "model" / "weights.safetensors").read_bytes() for folder in (run, again)]
    assert weights[0] == weights[1]


def test_auto_and_cpu_decide_alike_without_a_gpu(photos, trained, tmp_path):
    """The same decisions bit for bit, apart from what the clock measured."""
    from foveal.files import read_json

    run, _ = train(photos, TrainConfig(device="cpu", test="subset"), out=str(tmp_path / "run"))
    made = [Decisions.from_dict(read_json(folder / "config.json")) for folder in (run, trained[0])]
    assert made[0].get(ENGINE) == made[1].get(ENGINE) and made[0].get(DEVICE) == made[1].get(DEVICE)
    weights = [(folder / "model" / "weights.safetensors").read_bytes() for folder in (run, trained[0])]
    assert weights[0] == weights[1]


def test_gpu_without_cuda_is_answered_with_cpu(monkeypatch):
    monkeypatch.setattr("foveal.devices._has_cuda", lambda: False)
    with pytest.raises(UsageError) as caught:
        check_device("gpu")
    assert "--device cpu" in caught.value.hint
