"""The pages: files of the package, each at a fixed path. No path of a client is looked up anywhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from foveal.serving.openapi import document

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


def page_routes() -> list[Route]:
    """The routes of all pages; `/docs` is made of the OpenAPI document, and needs no script."""
    return [*(Route(path, _sender(*file), methods=["GET"]) for path, file in FILES.items()), Route("/docs", _docs)]


def _sender(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def send(_: Request) -> Response:
        return Response(page_file(name), media_type=media_type, headers={"Cache-Control": "no-cache"})

    return send


@cache
def page_file(name: str) -> bytes:
    """The content of a file in `page/`."""
    return resources.files("foveal.serving").joinpath(f"page/{name}").read_bytes()


async def _docs(_: Request) -> Response:
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(page_file("docs.html.j2").decode())
    return Response(template.render(api=document()), media_type=_HTML)
