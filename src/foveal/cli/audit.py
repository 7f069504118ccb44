"""`foveal audit`."""

from __future__ import annotations

from typing import Annotated

import typer

from foveal.cli.console import Terminal, put, put_json
from foveal.cli.options import Quiet, option
from foveal.config import TrainConfig

#: Groups of paths that are printed for each finding.
_SHOWN = 3


def audit(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A folder of class folders, or of images/ and masks/; a CSV, JSONL, Parquet, zip or tar file; "
            "hf:NAME, tfds:NAME, sample:clipart.",
        ),
    ],
    task: Annotated[str, option("task")] = TrainConfig.task,
    classes: Annotated[str | None, option("classes")] = TrainConfig.classes,
    void: Annotated[str | None, option("void")] = TrainConfig.void,
    group_by: Annotated[str | None, option("group_by")] = TrainConfig.group_by,
    label_from: Annotated[str | None, option("label_from")] = TrainConfig.label_from,
    max_pixels: Annotated[int, option("max_pixels")] = TrainConfig.max_pixels,
    quiet: Quiet = False,
    json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Check a data set before anything is trained. Exits with 1 when there are findings to act on."""
    from foveal.data.audit import audit as run_audit
    from foveal.data.audit.scan import ScanOptions
    from foveal.data.sources.listing import DataOptions

    terminal = Terminal(quiet=quiet)
    with terminal.stage("read and audit") as bar:
        scan_options = ScanOptions(cache=True, on_start=bar.total, on_each=bar, max_pixels=max_pixels)
        audited = run_audit(
            data, DataOptions(task, group_by, classes, void, label_from, say), scan_options=scan_options
        )
    if json:
        put_json(audited.to_dict())
    else:
        sizes = audited.classes()
        named = ", ".join(f"{label} {n}" for label, n in sizes.items())
        put(f"{len(audited.records)} images read, {len(audited.excluded)} excluded; {len(sizes)} classes: {named}")
        for finding in audited.findings:
            put(f"{finding.severity:<8} {finding.message}")
            for group in finding.paths[:_SHOWN]:
                put(f"         {'  =  '.join(group)}")
            if len(finding.paths) > _SHOWN:
                put(f"         … all of them with --json ({finding.count})")
            put(f"         hint: {finding.hint}")
        terminal.say("nothing to act on" if audited.clean else "check these before you train")
    raise typer.Exit(0 if audited.clean else 1)
