"""`foveal serve`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from foveal.cli.console import Terminal, put, put_json
from foveal.cli.named_run import run_named
from foveal.cli.options import Device, Quiet, takes_settings
from foveal.cli.serve_extra import check_extra, log_requests
from foveal.config import TrainConfig
from foveal.machine import few_collections
from foveal.serving.settings import ServeSettings


@takes_settings(ServeSettings, before={})
def serve(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run folder, a bundle, model:NAME, or latest: the newest finished run below runs/.",
        ),
    ],
    *,
    precision: Annotated[str | None, typer.Option(help="Use fp32 or bf16; by default what is faster.")] = None,
    quiet: Quiet = False,
    device: Device = TrainConfig.device,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when the server is ready: url, token.")
    ] = False,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Serve a model: a page to try it on images, and a REST API.

    Only this machine can connect, unless --host says otherwise. Stops on Ctrl-C, when requests in progress are
    answered.
    """
    check_extra()
    with few_collections():
        from foveal.inference.predictor import check_precision
    from foveal.serving.tokens import given_token, token_of

    check_precision(precision)
    made = ServeSettings(**settings)
    token = token_of(made)
    from foveal.serving.launch import Serving, address_of, listen

    terminal = Terminal(quiet=quiet)
    path = run_named(run, terminal)
    if not quiet:
        log_requests()
    with listen(made) as listening:
        url = address_of(listening)

        def ready() -> None:
            # A token that was given is known already, and had better not be in a log.
            shown = None if given_token(made) else token
            if json:
                put_json({"schema": 1, "url": url, "token": shown})
            else:
                put(f"{url}/#token={shown}" if shown else url)
                terminal.say(f"API: {url}/docs; stop with Ctrl-C")

        if made.workers == 1:
            from foveal.serving.launch import serve as run_server
        else:
            from foveal.serving.workers import serve_by_workers as run_server
        run_server(Serving(path, made, token, precision), listening, ready)
