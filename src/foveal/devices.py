"""On which device networks are trained and run: what may be asked for, what is asked for, and what there is.

`--device` of a command holds for all that happens inside `using_device`; the engines and the training loop ask
`wanted_device`. Without a GPU to test on, everything but `auto` and `cpu` is untested.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from foveal.errors import UsageError

#: A GPU if there is one, and on a CPU the fastest engine.
AUTO = "auto"
_FORMS = "auto, cpu, cuda (the first GPU), cuda:1 (the second) or mps"
_wanted: ContextVar[str] = ContextVar("device", default=AUTO)


def check_device(text: str) -> None:
    """Check how a device is written, not whether it is there.

    Raises:
        UsageError: for anything but `auto`, `cpu`, `cuda`, `cuda:N` and `mps`.
    """
    if re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", text):
        return
    numbers = re.findall(r"\d+", text)
    if len(numbers) > 1:
        hint = f"a run uses one GPU: --device cuda:{numbers[0]}"
    elif text.isdigit() or text.lower().startswith(("gpu", "cuda")):
        hint = f"--device {':'.join(['cuda', *numbers])}"
        if not _has_cuda():
            hint += "; but there seems to be no CUDA on this machine: --device cpu, or auto"
    else:
        hint = _FORMS
    raise UsageError(f"invalid device {text!r}", hint=hint)


def _has_cuda() -> bool:
    """Whether there is an NVIDIA driver; without the time that torch takes to be imported."""
    return os.path.exists("/dev/nvidiactl") or os.path.exists("/proc/driver/nvidia") or os.name == "nt"


def require_device(device: str) -> None:
    """Refuse a device that this machine does not have. Imports torch only for a GPU.

    Raises:
        UsageError: which names those that there are.
    """
    if device in (AUTO, "cpu"):
        return
    import torch

    there = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        there.append("mps")
    if ("cuda:0" if device == "cuda" else device) not in there:
        raise UsageError(f"there is no device {device} on this machine", hint=f"there is: {', '.join(there)}")


@contextmanager
def using_device(device: str) -> Iterator[None]:
    """Inside, engines and trainings are made for this device, in this thread.

    Raises:
        UsageError: when the machine does not have it.
    """
    require_device(device)
    before = _wanted.set(device)
    try:
        yield
    finally:
        _wanted.reset(before)


def wanted_device() -> str:
    """The device asked for: `auto`, unless inside `using_device`."""
    return _wanted.get()


def kind_of(device: str) -> str:
    """`cuda` of `cuda:1`: what torch calls the type of a device."""
    return device.partition(":")[0]
