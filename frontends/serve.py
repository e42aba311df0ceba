"""Serves one frontend's static files from memory: `python -m frontends.serve`.

FRONTEND names it (store, statement); it listens on HOST and PORT. Code and style lie under a prefix that holds a hash
of all of them, so that they can be kept for ever, and so that modules which import each other are always of one
version.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, cast

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from frontends.asset import Asset, content_hash, files
from frontends.protection import Protection
from functions.runtime import log, settings
from functions.runtime.problem import problem

ROOT: Final = Path(__file__).resolve().parent
CACHE_FOREVER: Final = "public, max-age=31536000, immutable"
CACHE_AN_HOUR: Final = "public, max-age=3600"
CACHE_IF_UNCHANGED: Final = "no-cache"
DRAIN_SECONDS_MAX: Final = 10
CONNECTIONS_MAX: Final = 1000


@dataclass(frozen=True)
class Frontend:
    """What one frontend serves.

    base: the public path under which it lies, without a slash at its end; pages: the paths that its script draws, in
    Starlette's syntax; image_sources: where pictures may come from besides its own origin, as in a CSP.
    """

    name: str
    base: str
    pages: tuple[str, ...]
    image_sources: str = ""


FRONTENDS: Final = {
    frontend.name: frontend
    for frontend in (
        # A merchant may keep the pictures of products anywhere.
        Frontend("store", "", ("/", "/products/{slug}", "/cart", "/checkout", "/orders/{id}"), "https:"),
        Frontend("statement", "/statement", ("/statement/",)),
    )
}


def application(frontend: Frontend) -> Starlette:
    """The ASGI application of one frontend. Its folder is read once, here."""
    folder = ROOT / frontend.name
    page = (folder / "index.html").read_text()
    pictures = {
        path.stem: Asset(path.read_bytes(), ".svg", CACHE_AN_HOUR) for path in files(folder / "images").values()
    }
    contents = {
        f"{tree.name}/{name}": path.read_bytes()
        for tree in (ROOT / "shared", folder)
        for name, path in files(tree).items()
        if name != "index.html" and not name.startswith("images/")
    }
    version = content_hash([("index.html", page.encode()), *contents.items()])
    prefix = f"{frontend.base}/assets/{version}"
    assets = {name: Asset(content, Path(name).suffix, CACHE_FOREVER) for name, content in contents.items()}
    shell = Asset(_filled(page, prefix, sorted(contents)).encode(), ".html", CACHE_IF_UNCHANGED)

    async def show_page(request: Request) -> Response:
        return shell.answer(request)

    async def show_asset(request: Request) -> Response:
        return _found(assets, request).answer(request)

    async def show_picture(request: Request) -> Response:
        return _found(pictures, request).answer(request)

    async def lead_to_base(_: Request) -> Response:
        # A path, not a URL: behind the gateway the Host header is not the one that the browser knows.
        return Response(None, HTTPStatus.PERMANENT_REDIRECT, {"Location": f"{frontend.base}/"})

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def refuse(request: Request, error: Exception) -> Response:
        refusal = cast(HTTPException, error)
        status = HTTPStatus(refusal.status_code)
        if status is HTTPStatus.NOT_FOUND and "text/html" in request.headers.get("accept", ""):
            return shell.answer(request, status)
        headers = {"Cache-Control": "no-store"} | dict(refusal.headers or {})
        return problem(status, f"{status.description}.", headers=headers)

    routes = [
        Route("/healthz", health),
        Route(prefix + "/{name:path}", show_asset),
        *(Route(path, show_page) for path in frontend.pages),
    ]
    if pictures:
        routes.append(Route(frontend.base + "/images/{name}.svg", show_picture))
    if frontend.base:
        routes.append(Route(frontend.base, lead_to_base))
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Protection, image_sources=frontend.image_sources)],
        exception_handlers={HTTPException: refuse},
    )
    app.router.redirect_slashes = False
    return app


def _filled(page: str, prefix: str, names: list[str]) -> str:
    """The page with its placeholders replaced: where the assets lie, and the modules, to be fetched at once."""
    modules = [name for name in names if name.endswith(".js")]
    preload = "\n".join(f'    <link rel="modulepreload" href="{prefix}/{name}">' for name in modules)
    return page.replace("{{assets}}", prefix).replace("    {{modulepreload}}", preload)


def _found(assets: dict[str, Asset], request: Request) -> Asset:
    try:
        return assets[request.path_params["name"]]
    except KeyError:
        raise HTTPException(HTTPStatus.NOT_FOUND) from None


def main() -> None:
    """Serves until SIGTERM, then lets the requests under way finish."""
    log.configure()
    name = settings.text("FRONTEND")
    if name not in FRONTENDS:
        raise settings.SettingError(f"FRONTEND is {name!r}, not one of {', '.join(FRONTENDS)}")
    uvicorn.run(
        application(FRONTENDS[name]),
        host=settings.text("HOST", "0.0.0.0"),  # noqa: S104 - a container is reached from outside
        port=settings.integer("PORT", 8080, minimum=1, maximum=65535),
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS_MAX,
        limit_concurrency=CONNECTIONS_MAX,
    )


if __name__ == "__main__":
    main()
