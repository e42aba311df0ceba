"""catalog: the products.

Started by GET /api/products?q=&after=&limit= and GET /api/products/{id or slug}. Anyone may read them. The validator is
made of the content, so that a product that was read before costs a 304.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.runtime.cursor import Cursor, WholeNumber
from functions.runtime.database import Database
from functions.runtime.etag import etag_of, not_modified
from functions.runtime.http import http_function, read_query, route
from functions.store.products import PAGE_PRODUCTS_DEFAULT, PAGE_PRODUCTS_MAX, Products, product_json

CACHEABLE: Final = {"Cache-Control": "public, no-cache"}
SEARCH_CHARACTERS_MAX: Final = 100


@cache
def products() -> Products:
    """The products of STORE_DATABASE_URL."""
    return Products(Database.of("store"))


class ListQuery(BaseModel):
    """What may be asked of the list. A word of q is found in names and descriptions, in any case."""

    model_config = ConfigDict(extra="forbid")

    q: str = Field("", max_length=SEARCH_CHARACTERS_MAX, pattern=r"^[^\x00-\x1f\x7f]*$")
    after: Cursor = 0
    limit: Annotated[WholeNumber, Field(ge=1, le=PAGE_PRODUCTS_MAX)] = PAGE_PRODUCTS_DEFAULT


async def list_products(request: Request) -> Response:
    """A page of products: {items, next}; next is null on the last one."""
    query = read_query(request, ListQuery)
    page, following = await products().page(q=query.q, after=query.after, limit=query.limit)
    return _answer(request, {"items": [product_json(product) for product in page], "next": following})


async def show_product(request: Request) -> Response:
    """One product, by its id or its slug."""
    return _answer(request, product_json(await products().find(request.path_params["id_or_slug"])))


def _answer(request: Request, content: dict[str, Any]) -> Response:
    response = JSONResponse(content, headers=CACHEABLE)
    etag = etag_of(bytes(response.body))
    response.headers["ETag"] = etag
    return not_modified(request, etag, CACHEABLE) or response


catalog = http_function(
    route("GET", "/api/products", list_products),
    route("GET", "/api/products/{id_or_slug}", show_product),
)
