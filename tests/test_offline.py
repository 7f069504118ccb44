"""No network is used, and nothing is written outside of the known folders."""

import os
import subprocess
import sys

BLOCKED = """
import socket, sys

def refuse(*args, **kwargs):
    print("NETWORK", args, file=sys.stderr)
    raise OSError("the network is blocked")

for name in ("connect", "connect_ex", "sendto", "bind"):
    setattr(socket.socket, name, refuse)
socket.getaddrinfo = socket.gethostbyname = socket.create_connection = refuse
sys.argv = ["foveal", *sys.argv[1:]]
from foveal.cli.main import main
try:
    main()
finally:
    print("MODULES", *sys.modules, file=sys.stderr)
"""


def test_train_and_predict_with_every_socket_blocked(photos, tmp_path):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")} | {
        "HOME": str(home),
        "FOVEAL_CACHE": str(tmp_path / "cache"),
        "FOVEAL_STATE": str(tmp_path / "state"),
    }

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", BLOCKED, *map(str, arguments)],
            capture_output=True,
            text=True,
            env=environment,
            cwd=work,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert "NETWORK" not in done.stderr
        loaded = set(done.stderr.partition("MODULES ")[2].split())
        assert "torch" not in loaded and "timm" not in loaded
        return done.stdout

    assert str(work / "run") in run("train", photos, "--test", "subset", "--out", work / "run")
    rows = run("predict", work / "run", photos / "ant", "--topk", "2").splitlines()
    assert len(rows) == 41
    written = {p.relative_to(tmp_path).parts[0] for p in tmp_path.rglob("*") if p.is_file()}
    assert written == {"work", "cache", "state"}
    assert {p.relative_to(work).parts[0] for p in work.rglob("*")} == {"run"}
    assert list(home.rglob("*")) == []
    assert (work / "run" / "summary.json").is_file()
