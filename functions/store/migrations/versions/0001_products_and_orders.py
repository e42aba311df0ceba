"""Products, orders with their items, and the refunds that were heard of.

Of the card there are the brand and the last four digits. The limits repeat those of functions/domain/order.py.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = (
    # The position is the order of the list and of its cursors: a product that is added comes last.
    """
    create table products (
        id uuid primary key,
        position bigint generated always as identity unique,
        slug text not null unique check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(slug) <= 100),
        name text not null check (length(name) between 1 and 100),
        description text not null check (length(description) <= 2000),
        image_url text not null check (length(image_url) <= 500),
        price_minor bigint not null check (price_minor between 1 and 100000000),
        currency text not null check (currency ~ '^[A-Z]{3}$'),
        created_at timestamptz not null
    )
    """,
    # request_digest tells whether a repeat under the same key is the same request. It is made of what is kept of the
    # card, never of its number. An order that the bank has decided on has a transaction, also a declined one.
    """
    create table orders (
        id uuid primary key,
        idempotency_key text not null unique check (length(idempotency_key) between 16 and 255),
        request_digest bytea not null check (length(request_digest) = 32),
        status text not null check (status in ('pending', 'approved', 'declined', 'refunded', 'expired')),
        total_minor bigint not null check (total_minor between 1 and 100000000),
        refunded_minor bigint not null default 0 check (refunded_minor between 0 and total_minor),
        currency text not null check (currency ~ '^[A-Z]{3}$'),
        card_brand text not null,
        card_last4 text not null check (card_last4 ~ '^[0-9]{4}$'),
        transaction_id text,
        decline_code text,
        created_at timestamptz not null,
        check ((status = 'declined') = (decline_code is not null)),
        check ((status in ('pending', 'expired')) = (transaction_id is null)),
        check ((status = 'refunded') = (refunded_minor = total_minor)),
        check (refunded_minor = 0 or status in ('approved', 'refunded'))
    )
    """,
    "create index orders_pending on orders (created_at) where status = 'pending'",
    # What was bought, as it was then: a product may change or go, the order does not.
    """
    create table order_items (
        order_id uuid not null references orders,
        line smallint not null check (line between 0 and 49),
        product_id uuid not null,
        slug text not null,
        name text not null,
        quantity smallint not null check (quantity between 1 and 99),
        price_minor bigint not null check (price_minor > 0),
        primary key (order_id, line),
        unique (order_id, product_id)
    )
    """,
    # One row for each refund, by the bank's transaction: a refund that is heard of again counts once.
    """
    create table order_refunds (
        transaction_id text primary key,
        order_id uuid not null references orders,
        amount_minor bigint not null check (amount_minor > 0)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
