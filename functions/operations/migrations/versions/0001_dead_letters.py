"""Dead letters: what a step did not take."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = (
    # The id derives from the step and the event's source and id: however often it fails, it is one dead letter. The
    # event is kept as it was sent, byte for byte, so that it can be sent again.
    """
    create table dead_letters (
        position bigint generated always as identity unique,
        id uuid primary key,
        step text not null check (length(step) <= 253),
        event_source text not null,
        event_id text not null,
        event_type text not null,
        subject text,
        headers jsonb not null,
        data bytea not null,
        state text not null default 'open' check (state in ('open', 'replayed', 'discarded')),
        error_code text not null,
        reason text not null,
        attempts integer not null default 1 check (attempts > 0),
        first_at timestamptz not null default clock_timestamp(),
        last_at timestamptz not null default clock_timestamp(),
        closed_at timestamptz,
        closed_by text,
        discard_reason text,
        check ((state = 'open') = (closed_at is null)),
        check ((state = 'discarded') = (discard_reason is not null))
    )
    """,
    "create index dead_letters_open on dead_letters (step, position) where state = 'open'",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
