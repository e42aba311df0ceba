"""The frontends over HTTP: what is answered where, what is kept for how long, and what a browser is forbidden."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path

import brotli
import httpx
import pytest

from frontends import serve
from frontends.serve import FRONTENDS, application
from tests.frontends.conftest import Clients, client_of

pytestmark = pytest.mark.anyio

PAGES = [
    ("store", "/"),
    ("store", "/products/chess-set"),
    ("store", "/cart"),
    ("store", "/checkout"),
    ("store", "/orders/8b9cfa4e-7a0b-4c36-9a7a-2f6f3f5a7d10"),
    ("statement", "/statement/"),
]
APPS = [("store", "/"), ("statement", "/statement/")]
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def linked(client: httpx.AsyncClient, page: str) -> list[str]:
    """The paths that the page links to as its own: scripts, modules, styles, icon, font."""
    paths = re.findall(r'(?:src|href)="([^"]+)"', (await client.get(page)).text)
    assert len(paths) > 10
    return paths


@pytest.mark.parametrize(("name", "page"), PAGES)
async def test_each_page_is_the_same_html_which_is_asked_for_again_each_time(
    clients: Clients, name: str, page: str
) -> None:
    answer = await clients(name).get(page)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert "{{" not in answer.text
    again = await clients(name).get(page, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == answer.headers["etag"]
    assert again.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(("name", "page"), APPS)
async def test_what_a_page_links_to_is_kept_for_ever(clients: Clients, name: str, page: str) -> None:
    for path in await linked(clients(name), page):
        answer = await clients(name).get(path)
        assert answer.status_code == 200, path
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await clients(name).get(path, headers={"If-None-Match": answer.headers["etag"]})).status_code == 304


@pytest.mark.parametrize(("name", "page"), APPS)
async def test_every_module_is_preloaded_and_every_style_exists(clients: Clients, name: str, page: str) -> None:
    paths = await linked(clients(name), page)
    prefix = paths[0].partition("/shared/")[0]
    on_disk = {f"{prefix}/{path.relative_to(serve.ROOT)}" for path in serve.ROOT.glob("shared/*.js")}
    on_disk |= {f"{prefix}/{path.relative_to(serve.ROOT)}" for path in serve.ROOT.glob(f"{name}/*.js")}
    assert on_disk <= set(paths)
    for path in paths:
        if path.endswith(".css"):
            style = (await clients(name).get(path)).text
            for url in re.findall(r'url\("([^"]+)"\)', style):
                target = f"{path.rpartition('/')[0]}/{url}"
                assert (await clients(name).get(target)).status_code == 200, target


@pytest.mark.parametrize(("name", "page"), [*PAGES, ("store", "/nothing"), ("store", "/healthz")])
async def test_a_browser_is_told_what_it_must_not_do(clients: Clients, name: str, page: str) -> None:
    headers = (await clients(name).get(page, headers=HTML)).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["img-src"] == ("'self' https:" if name == "store" else "'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["referrer-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]


@pytest.mark.parametrize(("name", "page"), APPS)
async def test_the_page_holds_no_inline_code_or_style(clients: Clients, name: str, page: str) -> None:
    html = (await clients(name).get(page)).text
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", html)


@pytest.mark.parametrize(("name", "page"), APPS)
@pytest.mark.parametrize(("accepted", "coding"), [("br", "br"), ("gzip", "gzip"), ("br;q=0.1, gzip", "gzip")])
async def test_each_coding_is_the_same_text_with_a_validator_of_its_own(
    clients: Clients, name: str, page: str, accepted: str, coding: str
) -> None:
    # The client of the tests would decode by itself, so the bytes are taken as they came.
    client, plain = clients(name), await clients(name).get(page)
    async with client.stream("GET", page, headers={"Accept-Encoding": accepted}) as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == coding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert int(answer.headers["content-length"]) == len(raw) < len(plain.content)
    assert (brotli.decompress(raw) if coding == "br" else gzip.decompress(raw)) == plain.content
    assert "content-encoding" not in plain.headers
    assert plain.headers["etag"] != answer.headers["etag"]
    # A validator of another coding proves nothing about this one.
    headers = {"Accept-Encoding": accepted, "If-None-Match": plain.headers["etag"]}
    assert (await client.get(page, headers=headers)).status_code == 200
    headers["If-None-Match"] = f'W/"other", W/{answer.headers["etag"]}'
    assert (await client.get(page, headers=headers)).status_code == 304


async def test_a_font_is_not_compressed_twice(clients: Clients) -> None:
    (path,) = [path for path in await linked(clients("store"), "/") if path.endswith(".woff2")]
    answer = await clients("store").get(path, headers={"Accept-Encoding": "br, gzip"})
    assert "content-encoding" not in answer.headers
    assert answer.headers["content-type"] == "font/woff2"


@pytest.mark.parametrize("requested", ["bytes=0-9", "bytes=-1", "bytes=99999999-", "bytes=5-2", "nonsense"])
async def test_a_range_is_answered_with_the_whole(clients: Clients, requested: str) -> None:
    answer = await clients("store").get("/", headers={"Range": requested, "If-Range": '"x"'})
    assert answer.status_code == 200
    assert answer.headers["accept-ranges"] == "none"
    assert answer.content == (await clients("store").get("/")).content


@pytest.mark.parametrize(("name", "path"), [*APPS, ("store", "/images/chess-set.svg"), ("store", "/nothing")])
async def test_head_is_get_without_its_body(clients: Clients, name: str, path: str) -> None:
    got, head = [await clients(name).request(method, path, headers=HTML) for method in ("GET", "HEAD")]
    assert head.status_code == got.status_code
    assert head.content == b""
    assert dict(head.headers) == dict(got.headers)


async def test_every_seeded_picture_has_a_stable_address(clients: Clients) -> None:
    slugs = [path.stem for path in (serve.ROOT / "store/images").glob("*.svg")]
    assert len(slugs) == 12
    for slug in slugs:
        answer = await clients("store").get(f"/images/{slug}.svg")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/svg+xml"
        assert answer.headers["cache-control"] == "public, max-age=3600"
        assert (await clients("store").get(f"/images/{slug}.svg", headers={"If-None-Match": "*"})).status_code == 304
        assert not re.search(r"<script|\sstyle=|<style|href=", answer.text)


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/cart/",
        "/products/",
        "/products/a/b",
        "/orders/",
        "/index.html",
        "/store/index.html",
        "/assets/",
        "/assets/0000000000000000/store/app.js",
        "/images/none.svg",
        "/images/chess-set.png",
        "/statement/",
        "//etc/passwd",
        "/%00",
        "/\N{SNOWMAN}",
    ],
)
async def test_what_does_not_exist_is_a_page_to_a_browser_and_a_problem_to_others(clients: Clients, path: str) -> None:
    page = await clients("store").get(path, headers=HTML)
    assert page.status_code == 404
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Codeshop" in page.text
    problem = await clients("store").get(path)
    assert problem.status_code == 404
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.headers["cache-control"] == "no-store"
    assert problem.json()["status"] == 404


@pytest.mark.parametrize(
    "climb", ["../serve.py", "..%2fserve.py", "%2e%2e/serve.py", "shared/../../serve.py", "/etc/passwd", "..\\serve.py"]
)
@pytest.mark.parametrize("folder", ["/images/", "{prefix}/", "{prefix}/shared/"])
async def test_no_path_leads_out_of_the_tree(clients: Clients, folder: str, climb: str) -> None:
    prefix = (await linked(clients("store"), "/"))[0].partition("/shared/")[0]
    answer = await clients("store").get(folder.format(prefix=prefix) + climb)
    assert answer.status_code == 404
    assert "uvicorn" not in answer.text


async def test_what_is_no_asset_is_not_served(clients: Clients) -> None:
    prefix = (await linked(clients("store"), "/"))[0].partition("/shared/")[0]
    for path in (
        "shared/fonts/bricolage-grotesque.OFL.txt",
        "store/index.html",
        "store/images/chess-set.svg",
        "shared",
    ):
        assert (await clients("store").get(f"{prefix}/{path}")).status_code == 404, path


@pytest.mark.parametrize(("name", "path"), [*PAGES, ("store", "/healthz"), ("store", "/images/chess-set.svg")])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_only_reading_is_possible(clients: Clients, name: str, path: str, method: str) -> None:
    answer = await clients(name).request(method, path)
    assert answer.status_code == 405
    assert {part.strip() for part in answer.headers["allow"].split(",")} == {"GET", "HEAD"}
    assert answer.headers["content-type"] == "application/problem+json"


async def test_the_statement_without_its_slash_leads_to_it_without_naming_a_host(clients: Clients) -> None:
    answer = await clients("statement").get("/statement", headers={"Host": "statement-frontend.internal"})
    assert (answer.status_code, answer.headers["location"]) == (308, "/statement/")


@pytest.mark.parametrize("name", list(FRONTENDS))
async def test_each_says_that_it_is_well(clients: Clients, name: str) -> None:
    answer = await clients(name).get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_the_prefix_changes_with_any_file_and_with_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(serve.ROOT, tmp_path / "frontends")
    monkeypatch.setattr(serve, "ROOT", tmp_path / "frontends")

    async def prefix() -> str:
        async with client_of(application(FRONTENDS["store"])) as client:
            return (await linked(client, "/"))[0]

    seen = [await prefix()]
    assert await prefix() == seen[0]
    (tmp_path / "frontends/store/images/chess-set.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "frontends/shared/fonts/note.txt").write_text("not served")
    assert await prefix() == seen[0]
    for name in ("shared/money.css", "store/app.js", "store/index.html"):
        path = tmp_path / "frontends" / name
        path.write_text((path.read_text() if path.exists() else "") + "\n")
        seen.append(await prefix())
    assert len(set(seen)) == len(seen)
