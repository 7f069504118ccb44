"""The token of a server: given by its owner, or random for each start."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from foveal.errors import UsageError
from foveal.serving.settings import SHORTEST_TOKEN, TOKEN_VARIABLE, ServeSettings


def token_of(settings: ServeSettings) -> str:
    """The token that `settings` names, or a random one where only this machine can connect.

    Raises:
        UsageError: when it is too short or can't be read, or when other machines can connect and none was given.
    """
    given = given_token(settings)
    if given is None:
        if not settings.is_local:
            raise UsageError(
                f"--host {settings.host} lets other machines connect: everyone who reaches this port could "
                "read what this server shows, and change labels or store corrections",
                hint=f"protect it with a token: set {TOKEN_VARIABLE}, or give --token-file FILE",
            )
        return secrets.token_urlsafe(24)
    if len(given) < SHORTEST_TOKEN or not (given.isascii() and given.isprintable()) or " " in given:
        raise UsageError(
            f"the token has to be at least {SHORTEST_TOKEN} printable ASCII characters without spaces",
            hint="a good one: python -c 'import secrets; print(secrets.token_urlsafe(24))'",
        )
    return given


def is_token(candidate: str, token: str) -> bool:
    """Whether a client's token is the right one, in a time that tells nothing about it."""
    return secrets.compare_digest(candidate.encode(), token.encode())


def given_token(settings: ServeSettings) -> str | None:
    """The token that was given with the settings or in the environment.

    Raises:
        UsageError: when its file can't be read.
    """
    if settings.token_file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        return Path(settings.token_file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise UsageError(f"--token-file {settings.token_file}: {error}", hint="a file of one line") from None
