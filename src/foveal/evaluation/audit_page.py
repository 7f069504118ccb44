"""The audit as a page: one file without network requests, with the images that each finding is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foveal.data.audit import Audit
from foveal.data.images.decode import quiet
from foveal.evaluation.templating import pages
from foveal.evaluation.thumbnails import thumbnail
from foveal.machine import cores
from foveal.values import SUBSETS, Finding
from foveal.version import __version__

#: Images of one finding, and of one group of copies, that are drawn; the others are counted.
MOST_OF_FINDING, MOST_OF_GROUP = 48, 8
#: Bytes of all images together, as the page holds them: mail programs and browsers take such a page without delay.
MOST_BYTES = 3_500_000
#: Classes that are listed.
MOST_CLASSES = 200
_SIDE = 128
#: By this line a page of an audit is known.
_MARK = '<meta name="generator" content="foveal audit">'


@dataclass(frozen=True)
class _Drawn:
    """A finding with its images.

    Attributes:
        finding: what was found.
        groups: of each group that is shown, path and data URI of each image, and how many more it has.
        more: groups that are not shown.
    """

    finding: Finding
    groups: list[tuple[list[tuple[str, str | None]], int]]
    more: int


def is_audit_page(path: Path) -> bool:
    """Whether `render_audit` wrote a file."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        return _MARK in stream.read(1000)


def render_audit(audited: Audit) -> str:
    """The page, with names of files made harmless to read."""
    page = (
        pages()
        .get_template("audit.html.j2")
        .render(
            root=audited.listing.root,
            mark=_MARK,
            version=__version__,
            audited=audited,
            drawn=_drawn(audited.findings),
            **_figures(audited),
        )
    )
    return page.encode("utf-8", "replace").decode()


def _figures(audited: Audit) -> dict[str, Any]:
    sizes = sorted(audited.classes().items(), key=lambda item: -item[1])
    split = audited.split
    return {
        "classes": [(name, count, count / max(1, sizes[0][1])) for name, count in sizes[:MOST_CLASSES]],
        "class_count": len(sizes),
        "subsets": {name: len(split.subset(name)) for name in SUBSETS} if split else None,
        "by_severity": [
            (severity, count)
            for severity in ("error", "warning", "note")
            if (count := sum(finding.severity == severity for finding in audited.findings))
        ],
    }


def _drawn(findings: Sequence[Finding]) -> list[_Drawn]:
    """The findings with as many images as the byte limit allows; each finding may use an equal share of it."""
    chosen = [list(_chosen(finding)) for finding in findings]
    paths = list(dict.fromkeys(path for groups in chosen for group, _ in groups for path in group))
    with quiet(), ThreadPoolExecutor(cores()) as pool:
        images = dict(zip(paths, pool.map(lambda path: thumbnail(path, _SIDE), paths), strict=True))
    room = {number: MOST_BYTES // max(1, len(findings)) for number in range(len(findings))}
    drawn = []
    for number, (finding, groups) in enumerate(zip(findings, chosen, strict=True)):
        kept: list[tuple[list[tuple[str, str | None]], int]] = []
        for group, more in groups:
            room[number] -= sum(len(images[path] or "") for path in group)
            if room[number] < 0 and kept:
                break
            kept.append(([(path, images[path]) for path in group], more))
        drawn.append(_Drawn(finding, kept, max(0, len(finding.paths) - len(kept))))
    return drawn


def _chosen(finding: Finding) -> Iterator[tuple[list[str], int]]:
    """Groups of a finding as they are shown, with the number of images that each has besides."""
    left = MOST_OF_FINDING
    for group in finding.paths:
        shown = list(group[:MOST_OF_GROUP])
        if len(shown) > left:
            return
        left -= len(shown)
        yield shown, len(group) - len(shown)
