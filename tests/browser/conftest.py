"""A real Chromium, people who visit the pages with it, and the pages without the services behind them."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, ViewportSize, WebError, sync_playwright
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from frontends.serve import FRONTENDS, application
from tests.browser.fake_services import FakeServices

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 360, "height": 740}
START_SECONDS_MAX = 30.0
WAIT_MS_MAX = 20_000

_SETTLED = """() => Promise.all([document.fonts.ready, ...Array.from(document.images, (image) => {
  image.loading = "eager";
  return image.decode().catch(() => null);
})])"""
_FAILED_REQUEST = re.compile(r"Failed to load resource: .*?(status of (\d{3})|net::(ERR_\w+))")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for the whole session."""
    executable = shutil.which("chromium")
    if executable is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is missing: tests/machine.sh installs it on Debian")
        pytest.skip("chromium is missing, so the pages cannot be tried")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield browser
        browser.close()


class Visitor:
    """Someone who visits pages. What goes wrong in them is kept in complaints, and fails the test at its end.

    A request that fails is a complaint too, unless the test said that it would: by its status, or by its net error.
    """

    def __init__(self, browser: Browser, artifacts: Path) -> None:
        self._browser = browser
        self._artifacts = artifacts
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []
        self.expected: set[str] = set()

    def visit(
        self,
        url: str,
        path: str = "/",
        *,
        language: str = "en-US",
        theme: str = "light",
        phone: bool = False,
        services: FakeServices | None = None,
        clock: bool = False,
    ) -> Page:
        """Opens a path in a browser profile of its own. With clock, time stands still until the test moves it."""
        context = self._browser.new_context(
            base_url=url,
            locale=language,
            color_scheme="dark" if theme == "dark" else "light",
            viewport=PHONE if phone else DESKTOP,
            has_touch=phone,
            reduced_motion="reduce",
            timezone_id="America/Sao_Paulo",
        )
        self._contexts.append(context)
        context.set_default_timeout(WAIT_MS_MAX)
        context.on("console", self._hear)
        context.on("weberror", self._catch)
        if services is not None:
            services.attach(context)
        page = context.new_page()
        if clock:
            page.clock.install()
        page.goto(path)
        return page

    def expects(self, *failures: int | str) -> None:
        """Some requests are meant to fail: with these statuses or net errors."""
        self.expected |= {str(failure) for failure in failures}

    def shoot(self, page: Page, name: str) -> None:
        """Keeps a picture of the whole page, once its pictures and its font are there."""
        page.evaluate(_SETTLED)
        folder = self._artifacts / "browser"
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png", full_page=True)

    def leave(self) -> None:
        """Closes all that was opened."""
        for context in self._contexts:
            context.close()

    def _hear(self, message: ConsoleMessage) -> None:
        failed = _FAILED_REQUEST.match(message.text)
        if failed and (failed[2] or failed[3]) in self.expected:
            return
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text}")

    def _catch(self, error: WebError) -> None:
        self.complaints.append(f"uncaught: {error.error}")


@pytest.fixture
def visitor(browser: Browser, artifacts: Path) -> Iterator[Visitor]:
    """A visitor who must have nothing to complain about at the end."""
    visitor = Visitor(browser, artifacts)
    yield visitor
    visitor.leave()
    assert visitor.complaints == []


class _Server(uvicorn.Server):
    """uvicorn in a thread, which gets no signals."""

    def install_signal_handlers(self) -> None:
        """Leaves them to the test runner."""


def _both(store: Starlette, statement: Starlette) -> ASGIApp:
    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        await (statement if scope["path"].startswith("/statement") else store)(scope, receive, send)

    return route


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of both frontends, as the gateway shows them, with no services behind it."""
    app = _both(*(application(FRONTENDS[name]) for name in ("store", "statement")))
    server = _Server(uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + START_SECONDS_MAX
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    host, port = server.servers[0].sockets[0].getsockname()
    yield f"http://{host}:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def services() -> FakeServices:
    """The services, answered inside the browser."""
    return FakeServices()
