"""`foveal serve` as a process: started, asked, stopped; with several workers; without any network but the loopback."""

import json
import os
import signal
import subprocess
import sys

import httpx
import pytest

#: Only the loopback addresses can be connected to, in every process.
LOOPBACK_ONLY = """
import socket

def only(name):
    plain = getattr(socket.socket, name)
    def call(self, address, *rest):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            print("NETWORK", address, flush=True)
            raise OSError("the network is blocked")
        return plain(self, address, *rest)
    setattr(socket.socket, name, call)

for name in ("connect", "connect_ex", "bind"):
    only(name)
"""


def start(run, *options, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(LOOPBACK_ONLY)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "FOVEAL_TOKEN": ""}
    command = [sys.executable, "-m", "foveal", "serve", str(run), "--port", "0", "--json", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def ready(process):
    """What the process printed when it was ready."""
    text = ""
    for line in process.stdout:
        text += line
        if line.rstrip() == "}":
            return json.loads(text)
    raise AssertionError(process.stderr.read())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_serves_until_it_is_stopped_and_needs_no_network(trained, photos, tmp_path, workers):
    image = (photos / "bee" / "000.jpg").read_bytes()
    process = start(trained[0], "--workers", workers, "--corrections", str(tmp_path / "kept"), tmp_path=tmp_path)
    try:
        said = ready(process)
        for _ in range(4):
            answer = httpx.post(f"{said['url']}/v1/predict", files={"file": image}, timeout=60, trust_env=False)
            assert answer.json()["predictions"][0]["label"] == "bee"
        token = {"Authorization": f"Bearer {said['token']}"}
        form = {"files": {"file": image}, "data": {"label": "ant"}, "headers": token}
        assert httpx.post(f"{said['url']}/v1/corrections", **form, trust_env=False).json()["count"] == 1
        counted = httpx.get(f"{said['url']}/metrics", trust_env=False).text
        assert 'foveal_images_total{outcome="known"} 4.0' in counted
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err[-2000:]
    assert "NETWORK" not in out + err and "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--host", "0.0.0.0"), "FOVEAL_TOKEN"),
        (("--queue", "2"), "--max-images"),
        (("--deadline", "-1s"), "--deadline"),
    ],
)
def test_what_cant_be_served_is_a_usage_error(trained, tmp_path, options, words):
    process = start(trained[0], *options, tmp_path=tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and words in err and "hint:" in err


def test_a_folder_without_a_model_is_an_error(tmp_path):
    process = start(tmp_path, tmp_path=tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "Traceback" not in err
