"""`foveal audit`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foveal.cli.console import Terminal, put, put_json
from foveal.cli.options import Quiet, option
from foveal.config import TrainConfig

if TYPE_CHECKING:
    from foveal.data.audit import Audit

#: Groups of paths that are printed for each finding.
_SHOWN = 3


def audit(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A folder of class folders, or of images/ and masks/; a CSV, JSONL, Parquet, zip or tar file; "
            "shards: a folder or pattern of tar or Parquet files; hf:NAME, tfds:NAME, sample:clipart.",
        ),
    ],
    task: Annotated[str, option("task")] = TrainConfig.task,
    classes: Annotated[str | None, option("classes")] = TrainConfig.classes,
    void: Annotated[str | None, option("void")] = TrainConfig.void,
    group_by: Annotated[str | None, option("group_by")] = TrainConfig.group_by,
    label_from: Annotated[str | None, option("label_from")] = TrainConfig.label_from,
    corrections: Annotated[str | None, option("corrections")] = TrainConfig.corrections,
    split_from: Annotated[str | None, option("split_from")] = TrainConfig.split_from,
    test: Annotated[str, option("test")] = str(TrainConfig.test),
    seed: Annotated[int, option("seed")] = TrainConfig.seed,
    max_pixels: Annotated[int, option("max_pixels")] = TrainConfig.max_pixels,
    quiet: Quiet = False,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a page with the images that each finding is about: one file, no requests."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Check a data set, and say what `train` would do with it. Exits with 1 when there are findings to act on."""
    from foveal.data.audit.scan import ScanOptions
    from foveal.data.dataset import audit as run_audit

    if html is not None:
        from foveal.evaluation.audit_page import is_audit_page
        from foveal.output_files import check_file

        check_file(html, is_ours=is_audit_page)
    terminal = Terminal(quiet=quiet)
    config = TrainConfig(
        task=task,
        classes=classes,
        void=void,
        group_by=group_by,
        label_from=label_from,
        corrections=corrections,
        split_from=split_from,
        test=test,
        seed=seed,
        max_pixels=max_pixels,
    )
    with terminal.stage("read and audit") as bar:
        scan_options = ScanOptions(cache=True, on_start=bar.total, on_each=bar)
        audited = run_audit(data, config, scan_options=scan_options, say=terminal.say)
    if html is not None:
        from foveal.evaluation.audit_page import render_audit
        from foveal.files import write_text

        write_text(html, render_audit(audited))
        terminal.say(f"page: {html}")
    if json:
        put_json(audited.to_dict())
    else:
        for line in _lines(audited):
            put(line)
        terminal.say("nothing to act on" if audited.clean else "check these before you train")
    raise typer.Exit(0 if audited.clean else 1)


def _lines(audited: Audit) -> Iterator[str]:
    """The audit for people."""
    from foveal.data.wording import count_of
    from foveal.values import SUBSETS

    sizes = audited.classes()
    named = ", ".join(f"{label} {n}" for label, n in sizes.items())
    classes = count_of(len(sizes), "class", "classes")
    left_out = f"{len(audited.excluded)} of {count_of(audited.images, 'file')} excluded"
    yield f"{count_of(len(audited.records), 'image')} read, {left_out}; {classes}: {named}"
    if audited.split is not None:
        train, val, test = (len(audited.split.subset(name)) for name in SUBSETS)
        yield f"`train` would use {train} for training, {val} for validation and {test} for testing"
    for finding in audited.findings:
        yield f"{finding.severity:<8} {finding.message}"
        for group in finding.paths[:_SHOWN]:
            yield f"         {'  =  '.join(group)}"
        if len(finding.paths) > _SHOWN:
            yield f"         … all of them with --json ({finding.count})"
        yield f"         hint: {finding.hint}"
    if audited.refusal is not None:
        yield f"refused  `train` would stop here: {audited.refusal.message}"
        yield f"         hint: {audited.refusal.hint}"
