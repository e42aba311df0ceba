"""catalog: what a shopper sees of the products."""

from __future__ import annotations

import httpx
import pytest

from functions.domain.money import EXPONENTS
from functions.runtime.database import Database
from functions.store import demo
from functions.store.products import Product
from tests.functions.steps import Serve, Steps

pytestmark = pytest.mark.anyio

SLUGS = [
    "espresso-machine",
    "mechanical-keyboard",
    "desk-lamp",
    "field-notebook",
    "wireless-headphones",
    "ceramic-mug",
    "canvas-backpack",
    "fountain-pen",
    "film-camera",
    "chess-set",
    "bicycle-bell",
    "potted-fern",
]


@pytest.fixture
def catalog(database: Database, steps: Steps) -> httpx.AsyncClient:
    return steps.client("catalog")


async def test_the_list_has_every_product_as_the_design_says(catalog: httpx.AsyncClient) -> None:
    answer = await catalog.get("/api/products")
    page = answer.json()
    assert answer.status_code == 200
    assert page["next"] is None
    assert [item["slug"] for item in page["items"]] == SLUGS
    for item in page["items"]:
        assert item.keys() == {
            "id",
            "slug",
            "name",
            "description",
            "image_url",
            "price_minor",
            "currency",
            "created_at",
        }
        assert item["image_url"] == f"/images/{item['slug']}.svg"
        assert item["currency"] in EXPONENTS
        assert item["price_minor"] > 0
        assert item["created_at"].endswith("Z")


async def test_pages_follow_each_other_without_a_gap(catalog: httpx.AsyncClient) -> None:
    seen, after = [], None
    while True:
        page = (await catalog.get("/api/products", params={"limit": 5, **({"after": after} if after else {})})).json()
        seen.append([item["slug"] for item in page["items"]])
        after = page["next"]
        if after is None:
            break
    assert seen == [SLUGS[:5], SLUGS[5:10], SLUGS[10:]]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("MUG", ["ceramic-mug"]),
        ("brass", ["espresso-machine", "fountain-pen", "bicycle-bell"]),
        ("brass pen", ["fountain-pen"]),
        ("100%", []),
        ("_", []),
        ("'; drop table products --", []),
        ("  ", SLUGS),
    ],
)
async def test_search_finds_every_word_in_names_and_descriptions(
    catalog: httpx.AsyncClient, search: str, found: list[str]
) -> None:
    page = (await catalog.get("/api/products", params={"q": search})).json()
    assert [item["slug"] for item in page["items"]] == found


async def test_one_product_is_found_by_its_id_and_by_its_slug(
    catalog: httpx.AsyncClient, products: dict[str, Product]
) -> None:
    by_slug = await catalog.get("/api/products/chess-set")
    by_id = await catalog.get(f"/api/products/{products['chess-set'].id}")
    assert by_slug.status_code == by_id.status_code == 200
    assert by_slug.json() == by_id.json()
    assert by_slug.json()["name"] == "Chess set"


@pytest.mark.parametrize(
    "name", ["no-such-thing", "%00", "Chess-Set", "8f1c1b0e-6d0a-5c51-9d0e-3f6b6b1c7a55", "ç", "'"]
)
async def test_what_is_not_a_product_is_not_found(catalog: httpx.AsyncClient, name: str) -> None:
    answer = await catalog.get(f"/api/products/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_who_has_the_content_already_is_told_so(catalog: httpx.AsyncClient, database: Database) -> None:
    first = await catalog.get("/api/products/chess-set")
    etag = first.headers["etag"]
    again = await catalog.get("/api/products/chess-set", headers={"If-None-Match": f'"other", W/{etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql("update products set price_minor = price_minor + 1 where slug = 'chess-set'")
    changed = await catalog.get("/api/products/chess-set", headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


@pytest.mark.parametrize(
    ("parameters", "pointer", "code"),
    [
        ({"limit": "0"}, "#/query/limit", "out_of_range"),
        ({"limit": "101"}, "#/query/limit", "out_of_range"),
        ({"limit": "1.0"}, "#/query/limit", "wrong_type"),
        ({"limit": " 1"}, "#/query/limit", "wrong_type"),
        ({"limit": "٣"}, "#/query/limit", "wrong_type"),
        ({"limit": "9" * 5000}, "#/query/limit", "wrong_type"),
        ({"after": "MTI"}, "#/query/after", "invalid_cursor"),
        ({"after": "//////////8"}, "#/query/after", "invalid_cursor"),
        ({"after": "é"}, "#/query/after", "invalid_cursor"),
        ({"q": "x" * 101}, "#/query/q", "too_long"),
        ({"q": "a\0b"}, "#/query/q", "invalid"),
        ({"sort": "price"}, "#/query/sort", "unknown_field"),
        ({"limit": ["1", "2"]}, "#/query/limit", "repeated"),
    ],
)
async def test_a_wrong_parameter_is_pointed_at(
    catalog: httpx.AsyncClient, parameters: dict[str, str | list[str]], pointer: str, code: str
) -> None:
    answer = await catalog.get("/api/products", params=parameters)
    assert answer.status_code == 422
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]


async def test_the_demo_can_be_repeated_and_changes_nothing_that_is_there(
    catalog: httpx.AsyncClient, database: Database
) -> None:
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql("update products set price_minor = 1 where slug = 'chess-set'")
        await connection.exec_driver_sql("delete from products where slug = 'desk-lamp'")
    await demo.main()
    page = (await catalog.get("/api/products")).json()
    assert sorted(item["slug"] for item in page["items"]) == sorted(SLUGS)
    assert (await catalog.get("/api/products/chess-set")).json()["price_minor"] == 1


async def test_it_is_served_as_a_process_of_its_own(database: Database, serve: Serve) -> None:
    client = (await serve("catalog")).client
    assert len((await client.get("/api/products")).json()["items"]) == len(SLUGS)
    assert (await client.get("/api/nothing")).status_code == 404
    refused = await client.post("/api/products", json={})
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    assert (await client.post("/api/products", content=b"x" * 2**21)).status_code == 413
