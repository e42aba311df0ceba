"""The ledger: accounts, cards, transactions, entries, idempotency keys, outbox.

The rules that must hold whatever the code does stand here, as constraints and triggers: entries balance, a card's
balance moves only by entries and never past its limit, refunds never exceed what was paid, nothing posted is changed or
deleted.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    # The chart of accounts. It is immutable, and holds no balances: a merchant's balance is the sum of its entries, so
    # that payments to one merchant never wait for each other.
    """
    create table accounts (
        id bigint generated always as identity primary key,
        kind text not null check (kind in ('card', 'merchant')),
        owner text not null check (length(owner) between 1 and 255),
        currency text not null check (currency ~ '^[A-Z]{3}$'),
        created_at timestamptz not null default now(),
        unique (kind, owner, currency),
        unique (id, currency)
    )
    """,
    # A card, and the one balance that is stored because it guards something. Of the number there is a keyed fingerprint
    # and the last four digits; of the CVV nothing: it is recomputed (functions/bank/keys.py). Each payment updates its
    # card's row: half of each page stays free, so that the new version lies beside the old one.
    """
    create table cards (
        account_id bigint primary key,
        currency text not null,
        token uuid not null unique,
        brand text not null,
        last4 text not null check (last4 ~ '^[0-9]{4}$'),
        name text not null check (length(name) <= 100),
        expiration_year smallint not null,
        expiration_month smallint not null check (expiration_month between 1 and 12),
        limit_minor bigint not null check (limit_minor >= 0),
        balance_minor bigint not null default 0,
        blocked boolean not null default false,
        scripted_decline text,
        fingerprint bytea not null unique,
        fingerprint_key_id text not null,
        cvv_key_id text not null,
        wrong_cvvs integer not null default 0 check (wrong_cvvs >= 0),
        wrong_cvv_at timestamptz,
        locked_until timestamptz,
        created_at timestamptz not null default now(),
        foreign key (account_id, currency) references accounts (id, currency),
        constraint cards_within_limit check (balance_minor between -limit_minor and 0)
    ) with (fillfactor = 50)
    """,
    "create sequence transaction_numbers",
    # What the bank decided, numbered in the order in which it decided for each card. A declined payment has a decline
    # code and no entries. The random ids are indexed once, in idempotency_keys: an index of random values costs more
    # the larger it grows, one of ascending numbers does not.
    """
    create table transactions (
        number bigint primary key,
        id uuid not null,
        kind text not null check (kind in ('payment', 'refund')),
        merchant text not null,
        card_account_id bigint,
        amount_minor bigint not null check (amount_minor > 0),
        currency text not null,
        store text not null,
        description text not null,
        order_id text,
        decline_code text,
        refund_of bigint references transactions,
        created_at timestamptz not null,
        check ((kind = 'refund') = (refund_of is not null)),
        check (kind = 'payment' or decline_code is null),
        check (card_account_id is not null or decline_code is not null)
    )
    """,
    "create index transactions_of_card on transactions (card_account_id, number)",
    "create index transactions_of_merchant on transactions (merchant, number)",
    "create index refunds_of_payment on transactions (refund_of) where refund_of is not null",
    # Positive amounts credit the account, negative ones debit it. Each row is checked by post_entries(), for a whole
    # statement at once, where foreign keys would look at each row by itself.
    """
    create table entries (
        transaction_number bigint not null,
        account_id bigint not null,
        amount_minor bigint not null check (amount_minor <> 0),
        primary key (transaction_number, account_id)
    )
    """,
    # One row for each key that a merchant used; the transaction's id derives from merchant and key. A fence is a key
    # under which nothing was decided and nothing will be: it has no transaction.
    """
    create table idempotency_keys (
        transaction_id uuid primary key,
        transaction_number bigint,
        digest bytea,
        digest_key_id text,
        created_at timestamptz not null default now(),
        check ((transaction_number is null) = (digest is null) and (digest is null) = (digest_key_id is null))
    )
    """,
    # Which transactions are still to be announced. The event itself is made of the transaction, which cannot change.
    """
    create table outbox (
        transaction_number bigint primary key,
        shard smallint not null check (shard between 0 and 15),
        traceparent text,
        created_at timestamptz not null default now(),
        sent_at timestamptz
    )
    """,
    "create index outbox_unsent on outbox (transaction_number) where sent_at is null",
    "create index outbox_by_age on outbox using brin (created_at) with (autosummarize = on)",
)

FUNCTIONS = (
    """
    create function refuse_change() returns trigger language plpgsql as $$
    begin
        raise exception '% of % is refused: it is append-only, corrections are new rows', tg_op, tg_table_name
            using errcode = 'restrict_violation';
    end $$
    """,
    """
    create function refuse_balance() returns trigger language plpgsql as $$
    begin
        raise exception 'a card''s balance moves only by entries' using errcode = 'restrict_violation';
    end $$
    """,
    # Joins by index whatever the statistics say: they are behind on tables that grow fast.
    """
    create function post_entries() returns trigger language plpgsql
        set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
    begin
        if exists (
            select from posted e
            left join transactions t on t.number = e.transaction_number and t.decline_code is null
            left join accounts a on a.id = e.account_id and a.currency = t.currency
            group by e.transaction_number
            having sum(e.amount_minor) <> 0 or count(t.number) < count(*) or count(a.id) < count(*)
        ) then
            raise exception 'entries sum to zero, for an approved transaction, in accounts of its currency'
                using errcode = 'check_violation';
        end if;
        update cards c set balance_minor = c.balance_minor + d.amount_minor
        from (select account_id, sum(amount_minor)::bigint as amount_minor from posted group by account_id) d
        where c.account_id = d.account_id;
        return null;
    end $$
    """,
    # A transaction and its entries are one statement. Payments are locked before their refunds are added up: of two
    # refunds at once, the second sees the first.
    """
    create function check_transactions() returns trigger language plpgsql
        set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
    begin
        if exists (
            select from posted t
            left join entries e on e.transaction_number = t.number and e.account_id = t.card_account_id
                and e.amount_minor = case t.kind when 'payment' then -t.amount_minor else t.amount_minor end
            where t.decline_code is null and e.account_id is null
        ) then
            raise exception 'an approved transaction moves its amount on its card' using errcode = 'check_violation';
        end if;
        if not exists (select from posted where kind = 'refund') then
            return null;
        end if;
        perform from transactions where number in (select refund_of from posted) order by number for no key update;
        if exists (
            select from transactions p
            where p.number in (select refund_of from posted) and (
                p.kind <> 'payment' or p.decline_code is not null
                or p.amount_minor < (select sum(r.amount_minor) from transactions r where r.refund_of = p.number)
            )
        ) or exists (
            select from posted r join transactions p on p.number = r.refund_of
            where r.currency <> p.currency or r.merchant <> p.merchant or r.card_account_id <> p.card_account_id
        ) then
            raise exception 'a refund gives back no more than an approved payment of the same card and merchant'
                using errcode = 'check_violation';
        end if;
        return null;
    end $$
    """,
)

APPEND_ONLY = ("accounts", "transactions", "entries", "idempotency_keys")

TRIGGERS = (
    *(
        f"create trigger append_only before update or delete or truncate on {table} "
        "for each statement execute function refuse_change()"
        for table in APPEND_ONLY
    ),
    "create trigger kept before delete or truncate on cards for each statement execute function refuse_change()",
    """
    create trigger balance_by_entries before update of balance_minor on cards for each row
    when (old.balance_minor <> new.balance_minor and pg_trigger_depth() = 0) execute function refuse_balance()
    """,
    """
    create trigger balance_from_zero before insert on cards for each row
    when (new.balance_minor <> 0) execute function refuse_balance()
    """,
    """
    create trigger posting after insert on entries referencing new table as posted
    for each statement execute function post_entries()
    """,
    """
    create trigger checked after insert on transactions referencing new table as posted
    for each statement execute function check_transactions()
    """,
)


def upgrade() -> None:
    for statement in (*TABLES, *FUNCTIONS, *TRIGGERS):
        op.execute(statement)
