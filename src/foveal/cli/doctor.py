"""`foveal doctor`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from foveal.cli.console import put, put_json


def doctor(json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show this machine: cores, instruction sets, engines, memory, versions."""
    import foveal.machine as machine
    from foveal.data.wording import count_of
    from foveal.engines.registry import available_engines
    from foveal.files import cache_dir, state_dir

    limit = machine.memory_limit()
    facts: dict[str, Any] = {
        "schema": 1,
        "cpu": machine.cpu_name(),
        "cores": machine.cores(),
        "instruction_sets": machine.instruction_sets(),
        "engines": [engine.name for engine in available_engines()],
        "memory_bytes": limit,
        "cache": str(cache_dir()),
        "state": str(state_dir()),
        "versions": machine.versions(),
    }
    if json:
        put_json(facts)
        return
    extensions = " ".join(facts["instruction_sets"]) or "instruction sets unknown"
    put(f"processor     {facts['cpu']}, {count_of(facts['cores'], 'core')}, {extensions}")
    put(f"memory        {limit / 2**30:.1f} GiB for this process" if limit else "memory        unknown")
    put(f"engines       {', '.join(facts['engines'])}")
    put(f"cache         {facts['cache']}")
    put(f"state         {facts['state']}")
    for name, version in facts["versions"].items():
        put(f"{name:<13} {version}")
