"""A command that is done does not wait for modules that are imported in the background, and leaves nothing behind."""

import subprocess
import sys

SLOW = "import time; time.sleep(60)"
SCRIPT = """
import sys, tempfile
tempfile.tempdir = sys.argv[1]
sys.path.insert(0, sys.argv[1])
from foveal.cli import main
from foveal.files import process_folder
from foveal.prefetch import prefetch
prefetch("slow_module")
(process_folder() / "large").write_text("x")
print("done", flush=True)
main._exit(int(sys.argv[2]))
"""


def test_it_exits_at_once_with_its_code(tmp_path):
    (tmp_path / "slow_module.py").write_text(SLOW)
    for code in (0, 2):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(code)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
        assert (ended.returncode, ended.stdout) == (code, "done\n"), ended.stderr
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("foveal-")] == []
