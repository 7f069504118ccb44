"""SVG drawings in files that the user names."""

from __future__ import annotations

from pathlib import Path

#: Ends our files, so that they are known again.
_MARK = "<!-- drawn by foveal -->\n"


def check_svg(out: Path) -> None:
    """Refuse to draw into a file that foveal did not draw, or that can't be written; before the work.

    Raises:
        UsageError: see `foveal.output_files.check_file`.
    """
    from foveal.output_files import check_file

    check_file(out, is_ours=_is_ours)


def write_svg(out: Path, drawing: str) -> None:
    """Write a drawing.

    Raises:
        UsageError: when the file can't be written after all, as on a full disk.
    """
    from foveal.errors import UsageError
    from foveal.files import write_text

    try:
        write_text(out, drawing + _MARK)
    except OSError as error:
        raise UsageError(f"--svg {out}: {error.strerror}", hint="give a file that can be written") from None


def _is_ours(path: Path) -> bool:
    try:
        return path.read_bytes().endswith(_MARK.encode())
    except OSError:
        return False
