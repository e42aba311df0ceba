"""Products: what the store sells."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Column, DateTime, Identity, Text, or_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Field, SQLModel, col, select

from functions.domain.error import NotFound
from functions.domain.event import rfc3339
from functions.runtime.cursor import cursor_of
from functions.runtime.database import Database

PAGE_PRODUCTS_DEFAULT: Final = 50
PAGE_PRODUCTS_MAX: Final = 100
SLUG: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Product(SQLModel, table=True):
    """One product. Its price is in minor units of the currency, for one piece."""

    __tablename__ = "products"

    id: uuid.UUID = Field(primary_key=True)
    position: int = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), unique=True))
    slug: str = Field(sa_type=Text, unique=True)
    name: str = Field(sa_type=Text)
    description: str = Field(sa_type=Text)
    image_url: str = Field(sa_type=Text)
    price_minor: int = Field(sa_type=BigInteger)
    currency: str = Field(sa_type=Text)
    created_at: dt.datetime = Field(sa_type=DateTime(timezone=True))


def product_json(product: Product) -> dict[str, Any]:
    """The product as the API shows it."""
    return {
        "id": str(product.id),
        "slug": product.slug,
        "name": product.name,
        "description": product.description,
        "image_url": product.image_url,
        "price_minor": product.price_minor,
        "currency": product.currency,
        "created_at": rfc3339(product.created_at),
    }


class Products:
    """The products in the store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, *, q: str, after: int, limit: int) -> tuple[Sequence[Product], str | None]:
        """Products whose name or description has every word of q, and the cursor of the next page, if there is one."""
        query = select(Product).where(col(Product.position) > after)
        for word in q.split():
            places = (col(Product.name), col(Product.description))
            query = query.where(or_(*(place.icontains(word, autoescape=True) for place in places)))
        async with self._database.transaction() as session:
            found = (await session.exec(query.order_by(col(Product.position)).limit(limit + 1))).all()
        page = found[:limit]
        return page, cursor_of(page[-1].position) if len(found) > limit else None

    async def find(self, id_or_slug: str) -> Product:
        """One product. Raises NotFound."""
        query = select(Product)
        if (product_id := uuid_of(id_or_slug)) is not None:
            query = query.where(Product.id == product_id)
        elif SLUG.fullmatch(id_or_slug):
            query = query.where(Product.slug == id_or_slug)
        else:
            raise NotFound("There is no such product.")
        async with self._database.transaction() as session:
            found = (await session.exec(query)).one_or_none()
        if found is None:
            raise NotFound("There is no such product.")
        return found

    async def add_missing(self, products: Iterable[Product]) -> int:
        """Adds those whose slugs are not there yet; answers how many. What is there stays as it is."""
        rows = [product.model_dump(exclude={"position"}) for product in products]
        added = insert(Product).values(rows).on_conflict_do_nothing(index_elements=["slug"]).returning(col(Product.id))
        async with self._database.transaction() as session:
            return len((await session.exec(added)).all())


def uuid_of(text: str) -> uuid.UUID | None:
    """The id that the text is, in the one way in which this API writes ids."""
    try:
        found = uuid.UUID(text)
    except ValueError:
        return None
    return found if str(found) == text else None
