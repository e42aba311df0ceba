"""A dozen products for the demo store: `python -m functions.store.demo`.

It can be repeated: a product that is there already stays as it is.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import uuid
from typing import Final

from functions.domain.identity import derived_id
from functions.runtime import log
from functions.runtime.database import Database
from functions.store.products import Product, Products

_log = logging.getLogger(__name__)

CURRENCY: Final = "BRL"

# Slug, name, price in centavos, description.
PRODUCTS: Final = (
    (
        "espresso-machine",
        "Espresso machine",
        249_000,
        "Nine bars from a brass boiler, and hot before the shower is. Pulls two cups at once, steams milk for four, "
        "and every part that wears can be had as a spare.",
    ),
    (
        "mechanical-keyboard",
        "Mechanical keyboard",
        68_900,
        "Tactile switches under caps whose letters don't wear off. Unscrew it, swap a switch, change the layout: it is "
        "yours. Comes with a cable and a sound that colleagues get used to.",
    ),
    (
        "desk-lamp",
        "Desk lamp",
        32_900,
        "Light where the work is and nowhere else. Warm in the evening, bright by day, dimmed with one finger. The arm "
        "stays where you put it.",
    ),
    (
        "field-notebook",
        "Field notebook",
        4_900,
        "Ninety-six pages of squared paper that take ink on both sides, sewn to lie flat. Fits a back pocket and lives "
        "through rain.",
    ),
    (
        "wireless-headphones",
        "Wireless headphones",
        119_900,
        "Thirty hours of quiet, then ten more after ten minutes on the charger. Closed, light, and with a button for "
        "everything that you want to find without looking.",
    ),
    (
        "ceramic-mug",
        "Ceramic mug",
        7_900,
        "Thrown by hand in Cunha and glazed the blue of an early evening. Holds 350 ml and keeps it warm. No two are "
        "the same, which is the point.",
    ),
    (
        "canvas-backpack",
        "Canvas backpack",
        38_900,
        "Waxed canvas and leather that look better every year. A sleeve for a laptop, a pocket for a bottle, and room "
        "for a weekend if you fold well.",
    ),
    (
        "fountain-pen",
        "Fountain pen",
        21_500,
        "A steel nib that forgives a heavy hand, and a body of one piece of brass. Fills from a bottle or a "
        "cartridge. Writes at the first stroke, also on Mondays.",
    ),
    (
        "film-camera",
        "Film camera",
        174_900,
        "35 mm, fully mechanical, looked over and sealed anew by someone who repairs nothing else. The light meter "
        "takes a battery; the rest takes care.",
    ),
    (
        "chess-set",
        "Chess set",
        45_900,
        "Weighted pieces turned from imbuia and marfim, on a board that folds around them. For a long evening, or one "
        "very long game.",
    ),
    (
        "bicycle-bell",
        "Bicycle bell",
        8_900,
        "Solid brass, one strike, and a tone that carries to the next corner without scaring anyone on this one. Fits "
        "every handlebar we have met.",
    ),
    (
        "potted-fern",
        "Potted fern",
        6_500,
        "A fern that asks for shade, water on Sundays and little else. Comes in a clay pot with a saucer, and "
        "forgives a forgotten Sunday.",
    ),
)


def demo_products(now: dt.datetime) -> list[Product]:
    """The products; their ids derive from their slugs, so that they are the same wherever the demo runs."""
    return [
        Product(
            id=uuid.UUID(derived_id("product", slug)),
            slug=slug,
            name=name,
            description=description,
            image_url=f"/images/{slug}.svg",
            price_minor=price_minor,
            currency=CURRENCY,
            created_at=now,
        )
        for slug, name, price_minor, description in PRODUCTS
    ]


async def main() -> None:
    """Adds what is missing to the store of STORE_DATABASE_URL."""
    database = Database.of("store")
    try:
        added = await Products(database).add_missing(demo_products(dt.datetime.now(dt.UTC)))
    finally:
        await database.close()
    _log.info("demo products: %d added, %d there already", added, len(PRODUCTS) - added)


if __name__ == "__main__":
    log.configure()
    asyncio.run(main())
