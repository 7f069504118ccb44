"""The settings of a server. Each limit is one field here: option of `foveal serve`, constructor argument, docs."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from foveal.clock import parse_duration
from foveal.config import option_name, setting, settings_of
from foveal.errors import UsageError
from foveal.machine import bytes_of

#: The environment variable that may hold the token.
TOKEN_VARIABLE = "FOVEAL_TOKEN"
#: The environment variable with the folder in which several workers keep their counts; prometheus-client's own.
SHARED_COUNTS = "PROMETHEUS_MULTIPROC_DIR"
#: Characters of the shortest token that is accepted.
SHORTEST_TOKEN = 16


def _at_least(least: int, unit: str) -> Callable[[int], None]:
    def check(value: int) -> None:
        if value < least:
            raise UsageError(f"{value} {unit} is too few", hint=f"at least {least}")

    return check


def _check_port(port: int) -> None:
    if not 0 <= port < 65536:
        raise UsageError(f"invalid port {port}", hint="a number from 0 to 65535; 0 takes one that is free")


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """How a run is served.

    Durations are seconds or texts such as `10s`, sizes are bytes or texts such as `20MiB`.

    Raises:
        UsageError: when a value is invalid.
    """

    host: str = setting(
        "127.0.0.1",
        help="Address to listen on. Other than the loopback addresses need a token.",
        metavar="ADDRESS",
    )
    port: int = setting(8000, help="Port to listen on; 0 takes a free one.", metavar="INTEGER", check=_check_port)
    workers: int = setting(
        1,
        help="Processes that share the port. One uses all cores already.",
        metavar="INTEGER",
        check=_at_least(1, "workers"),
    )
    allow_host: str = setting(
        "",
        help="Further values of the Host header to answer, separated by commas: the names by which clients, or a "
        "reverse proxy, know this server.",
        metavar="NAMES",
    )
    token_file: str | None = setting(
        None,
        help="File with the token, of at least 16 characters. By default the environment variable FOVEAL_TOKEN, or "
        "else a random one for each start. Writing (corrections) always needs it.",
        metavar="FILE",
    )
    require_token: bool = setting(
        False,
        help="Ask for the token for predictions and figures, too. Always so on other than loopback addresses.",
    )
    corrections: str | None = setting(
        None,
        help="Folder for corrected images; by default one for each model below foveal's state folder.",
        metavar="DIR",
    )
    max_corrections: int = setting(
        10_000,
        help="Images that the folder of corrections may hold.",
        metavar="INTEGER",
        check=_at_least(0, "corrections"),
    )
    max_bytes: str | int = setting(
        "20MiB", help="Largest request; a larger one is refused with 413.", metavar="SIZE", check=bytes_of
    )
    max_images: int = setting(
        32,
        help="Images in one request; more are refused with 413.",
        metavar="INTEGER",
        check=_at_least(1, "images"),
    )
    max_pixels: int = setting(
        50_000_000,
        help="Pixels of one image, checked before it is decoded; more are refused with 422.",
        metavar="INTEGER",
        check=_at_least(1, "pixels"),
    )
    max_headers: int = setting(
        100,
        help="Header lines of a request; more are refused with 431, and more than 64 KiB of them with 400.",
        metavar="INTEGER",
        check=_at_least(10, "header lines"),
    )
    max_connections: int = setting(
        512,
        help="Connections at once; more are answered with 503.",
        metavar="INTEGER",
        check=_at_least(1, "connections"),
    )
    upload_memory: str | int = setting(
        "512MiB",
        help="All bodies in memory together; what exceeds it is refused with 503.",
        metavar="SIZE",
        check=bytes_of,
    )
    header_timeout: str | float = setting(
        "10s",
        help="Time for the headers of a request; the connection is closed after it.",
        metavar="DURATION",
        check=parse_duration,
    )
    body_timeout: str | float = setting(
        "30s",
        help="Time for the body of a request; a slower one is refused with 408.",
        metavar="DURATION",
        check=parse_duration,
    )
    queue: int = setting(
        64,
        help="Images that may wait; a request that would exceed it is refused with 503 and Retry-After.",
        metavar="INTEGER",
        check=_at_least(1, "images"),
    )
    deadline: str | float = setting(
        "10s",
        help="Time for a prediction, waiting in the queue included; 504 after it.",
        metavar="DURATION",
        check=parse_duration,
    )
    map_queue: int = setting(
        4,
        help="Heat maps that may wait; further ones are refused with 503.",
        metavar="INTEGER",
        check=_at_least(1, "maps"),
    )
    map_deadline: str | float = setting(
        "2m",
        help="Time for a heat map, waiting included; 504 after it. The first one loads PyTorch.",
        metavar="DURATION",
        check=parse_duration,
    )
    max_batch: int = setting(
        32,
        help="Images that are computed at once, at most.",
        metavar="INTEGER",
        check=_at_least(1, "images"),
    )
    batch_wait: str | float = setting(
        "0.005s",
        help="How long the first image of a batch waits for others that are being decoded.",
        metavar="DURATION",
        check=parse_duration,
    )
    decoders: int = setting(
        0,
        help="Threads that decode images; 0: one for each core.",
        metavar="INTEGER",
        check=_at_least(0, "threads"),
    )
    drain: str | float = setting(
        "20s",
        help="Time for requests in progress when the server is stopped; those left are cut off.",
        metavar="DURATION",
        check=parse_duration,
    )
    stop_notice: str | float = setting(
        "0.5s",
        help="When the server is stopped, how long /readyz says so before connections are refused.",
        metavar="DURATION",
        check=parse_duration,
    )

    def __post_init__(self) -> None:
        for name, about in settings_of(type(self)).items():
            try:
                about.checked(name, getattr(self, name))
            except UsageError as error:
                raise UsageError(f"{option_name(name)}: {error.message}", hint=error.hint) from None
        if self.max_images > self.queue:
            raise UsageError(
                f"--max-images {self.max_images} with --queue {self.queue}",
                hint="a request with that many images could never be answered: enlarge the queue",
            )

    @property
    def max_bytes_n(self) -> int:
        """`max_bytes` as a number."""
        return bytes_of(self.max_bytes)

    @property
    def upload_memory_n(self) -> int:
        """`upload_memory` as a number of bytes."""
        return bytes_of(self.upload_memory)

    def seconds(self, name: str) -> float:
        """A duration by the name of its setting."""
        return parse_duration(getattr(self, name))

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def needs_token(self) -> bool:
        """Whether everything but the page itself and the health checks needs the token."""
        return self.require_token or not self.is_local

    @property
    def host_names(self) -> frozenset[str]:
        """The names that the Host header may have, in lower case, without a port."""
        given = {name.strip().lower() for name in self.allow_host.split(",") if name.strip()}
        listening = set() if self.host in ("0.0.0.0", "::") else {self.host.strip("[]").lower()}
        return frozenset({"localhost", "127.0.0.1", "::1"} | listening | given)

    def corrections_folder(self, model_sha256: str) -> Path:
        """Where corrections of a model are stored."""
        if self.corrections is not None:
            return Path(self.corrections)
        from foveal.files import state_dir

        return state_dir() / "corrections" / model_sha256[:16]
