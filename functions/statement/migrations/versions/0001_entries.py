"""Statement entries, and for each card the position of its last one."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = (
    # Whoever adds entries of a card first moves its last position, and so holds the card until the commit: positions
    # are given in the order of commits, and who has read up to one of them has missed nothing before it. Half of each
    # page stays free, so that the new version of a row lies beside the old one.
    """
    create table statement_cards (
        card_token text primary key check (length(card_token) between 1 and 64),
        last_position bigint not null check (last_position > 0)
    ) with (fillfactor = 50)
    """,
    # The id derives from the event's source and id: an event that comes again finds its entry. Entries lie in the order
    # in which they are read: by card and position.
    """
    create table statement_entries (
        card_token text not null references statement_cards,
        position bigint not null check (position > 0),
        id uuid not null unique,
        kind text not null check (kind in ('payment', 'refund')),
        transaction_id text not null check (length(transaction_id) between 1 and 64),
        order_id text check (length(order_id) <= 64),
        refund_of text check (length(refund_of) <= 64),
        amount_minor bigint not null check (amount_minor between 1 and 1000000000000),
        currency text not null check (currency ~ '^[A-Z]{3}$'),
        store text not null check (length(store) <= 255),
        description text not null check (length(description) <= 1000),
        payment_date timestamptz not null,
        primary key (card_token, position),
        check ((kind = 'refund') = (refund_of is not null))
    )
    """,
    "create index statement_entries_by_date on statement_entries (card_token, payment_date)",
    """
    create function refuse_change() returns trigger language plpgsql as $$
    begin
        raise exception '% of % is refused: entries are only added', tg_op, tg_table_name
            using errcode = 'restrict_violation';
    end $$
    """,
    """
    create trigger append_only before update or delete or truncate on statement_entries
    for each statement execute function refuse_change()
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
