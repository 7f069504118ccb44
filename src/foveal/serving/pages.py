"""The pages: files of the package, each at a fixed path. No path of a client is looked up anywhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_HTML, _JS, _CSS, _SVG = "text/html", "text/javascript", "text/css", "image/svg+xml"
#: Path → file in `page/`, and its type.
FILES = {
    "/": ("index.html", _HTML),
    "/run": ("run.html", _HTML),
    "/assets/style.css": ("style.css", _CSS),
    "/assets/api.js": ("api.js", _JS),
    "/assets/elements.js": ("elements.js", _JS),
    "/assets/predict.js": ("predict.js", _JS),
    "/assets/table.js": ("table.js", _JS),
    "/assets/details.js": ("details.js", _JS),
    "/assets/camera.js": ("camera.js", _JS),
    "/assets/run.js": ("run.js", _JS),
    "/assets/icon.svg": ("icon.svg", _SVG),
}


#: As `FILES`, for `foveal label`.
LABEL_FILES = {
    "/": ("label.html", _HTML),
    "/assets/style.css": ("style.css", _CSS),
    "/assets/label.css": ("label.css", _CSS),
    "/assets/api.js": ("api.js", _JS),
    "/assets/elements.js": ("elements.js", _JS),
    "/assets/label.js": ("label.js", _JS),
    "/assets/label-grid.js": ("label-grid.js", _JS),
    "/assets/label-images.js": ("label-images.js", _JS),
    "/assets/label-lists.js": ("label-lists.js", _JS),
    "/assets/icon.svg": ("icon.svg", _SVG),
}


def page_routes() -> list[Route]:
    """The routes of all pages of a model; `/docs` is made of the OpenAPI document, and needs no script."""
    return [*file_routes(FILES), Route("/docs", _docs)]


def file_routes(files: Mapping[str, tuple[str, str]]) -> list[Route]:
    """The routes of files in `page/`, by path: name and media type."""
    return [Route(path, _sender(*file), methods=["GET"]) for path, file in files.items()]


def _sender(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def send(_: Request) -> Response:
        return Response(page_file(name), media_type=media_type, headers={"Cache-Control": "no-cache"})

    return send


@cache
def page_file(name: str) -> bytes:
    """The content of a file in `page/`."""
    return resources.files("foveal.serving").joinpath(f"page/{name}").read_bytes()


async def _docs(_: Request) -> Response:
    return Response(_docs_page(), media_type=_HTML)


@cache
def _docs_page() -> str:
    import jinja2
    from markupsafe import Markup, escape

    from foveal.serving.openapi import document

    def code(text: str) -> Markup:
        """What stands between backticks as code."""
        parts = text.split("`")
        return Markup("").join(
            Markup("<code>{}</code>").format(p) if at % 2 else escape(p) for at, p in enumerate(parts)
        )

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"code": code, "described": _described}
    return environment.from_string(page_file("docs.html.j2").decode()).render(api=document())


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    """A docstring as its text, and what it says of each member."""
    text, _, listed = str(schema.get("description", "")).partition("\n\nAttributes:\n")
    members: dict[str, str] = {}
    names: list[str] = []
    for line in (line.removeprefix("    ") for line in listed.splitlines()):
        head, colon, rest = line.partition(": ")
        if colon and not line.startswith(" ") and all(part.isidentifier() for part in head.split(", ")):
            names = head.split(", ")
            members |= dict.fromkeys(names, rest)
        else:
            members |= {name: f"{members[name]} {line.strip()}" for name in names}
    return {"text": text, "members": members}
