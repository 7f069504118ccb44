"""Models kept in the cache folder: converted to OpenVINO's format, and compiled for this processor."""

from __future__ import annotations

import errno
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from foveal.engines.openvino_runtime import compile_model, import_compiled, import_openvino, version
from foveal.files import cache_dir, cannot_write, digest_of, process_folder, sha256_of, write_bytes, write_json
from foveal.machine import cpu_name
from foveal.schema import Sha256, read_cached, signed


def compiled_model(key: Sequence[object], model: Callable[[], Any], precision: str) -> Any:  # noqa: ANN401
    """A model compiled for the CPU, as it was compiled on this machine before: to read that takes a tenth of the time.

    The file begins with the hash of the rest. One that is damaged, or that OpenVINO refuses, is made again.

    Args:
        key: whatever makes the model what it is; precision, processor and OpenVINO's version are added.
        model: gives OpenVINO's model; called only when it has to be compiled.
        precision: `fp32` or `bf16`.
    """
    file = cache_dir() / "compiled" / f"{digest_of([*key, precision, version(), cpu_name()])}.blob"
    try:
        return import_compiled(_read_hashed(file), precision)
    except (OSError, ValueError, RuntimeError):  # RuntimeError is OpenVINO's
        pass
    compiled = compile_model(model(), precision)
    content = BytesIO()
    compiled.export_model(content)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, hashlib.sha256(content.getbuffer()).digest() + content.getbuffer())
    except OSError as error:
        cannot_write(error)
    return compiled


def _read_hashed(file: Path) -> bytes:
    """The content of a file that begins with its hash.

    Raises:
        ValueError: when it is another content.
    """
    with file.open("rb") as opened:
        digest, content = opened.read(hashlib.sha256().digest_size), opened.read()
    if hashlib.sha256(content).digest() != digest:
        raise ValueError(f"{file}: the content does not match its hash")
    return content


def cached_model(folder: Path, name: str, make: Callable[[Path], Any]) -> Path:
    """A model in OpenVINO's own format in a folder of the cache, made when it is not there or damaged.

    The folder appears whole, by one rename, with the hashes that `is_intact` checks: of two processes that make it
    at once one keeps what the other made. Where the cache can't be written it lies in a temporary folder instead, until
    the process ends.

    Args:
        folder: of this model alone.
        name: of the file, ending in `.xml`.
        make: a folder for its temporary files → OpenVINO's model.
    """
    if is_intact(folder):
        return folder / name
    if folder not in _ELSEWHERE:
        try:
            return _converted(folder, name, make)
        except OSError as error:
            cannot_write(error)
        _ELSEWHERE[folder] = process_folder() / folder.name
        _converted(_ELSEWHERE[folder], name, make)
    return _ELSEWHERE[folder] / name


#: Models for which the cache had no room: their folders in it → where they lie until the process ends.
_ELSEWHERE: dict[Path, Path] = {}


def _converted(folder: Path, name: str, make: Callable[[Path], Any]) -> Path:
    """Make a model in its folder, which appears whole.

    Raises:
        OSError: when it can't be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        target, model = scratch / name, make(scratch)
        try:
            import_openvino().save_model(model, target, compress_to_fp16=False)
        except RuntimeError as error:  # OpenVINO's word for a full disk is "iostream error"
            raise OSError(errno.EIO, f"the converted model: {error}") from None
        files = (target, target.with_suffix(".bin"))
        write_json(scratch / "hashes.json", signed({"value": {f.name: sha256_of(f) for f in files}}))
        if not is_intact(folder):
            _remove(folder)
            scratch.rename(folder)
    except OSError:
        if not is_intact(folder):  # else another process was faster
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder / name


def _remove(path: Path) -> None:
    """Whatever is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def is_intact(folder: Path) -> bool:
    """Whether the model in a folder of the cache is still what was written."""
    hashes: dict[str, str] | None = read_cached(folder / "hashes.json", dict[str, Sha256])
    try:
        return bool(hashes) and all(sha256_of(folder / name) == digest for name, digest in (hashes or {}).items())
    except OSError:
        return False
