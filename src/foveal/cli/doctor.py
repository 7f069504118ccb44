"""`foveal doctor`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from foveal.cli.console import put, put_json


def doctor(json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Say what this machine has: cores, instruction sets, engines, memory, versions."""
    from foveal import machine
    from foveal.engines.probe import available
    from foveal.files import cache_dir, state_dir

    limit = machine.memory_limit()
    found: dict[str, Any] = {
        "schema": 1,
        "cpu": machine.cpu_name(),
        "cores": machine.cores(),
        "instruction_sets": machine.instruction_sets(),
        "engines": available(),
        "memory_bytes": limit,
        "cache": str(cache_dir()),
        "state": str(state_dir()),
        "versions": machine.versions(),
    }
    if json:
        put_json(found)
        return
    extensions = " ".join(found["instruction_sets"]) or "no extensions known"
    put(f"processor   {found['cpu']}, {found['cores']} cores, {extensions}")
    put(f"memory      {limit / 2**30:.1f} GiB for this process" if limit else "memory      unknown")
    put(f"engines     {', '.join(found['engines'])}")
    put(f"cache       {found['cache']}")
    put(f"state       {found['state']}")
    for name, version in found["versions"].items():
        put(f"{name:<11} {version}")
