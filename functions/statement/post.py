"""post: writes statement entries.

Started by a KafkaSource with every transaction of the bank, in any order and any number of times: an entry is written
once for each event, by its source and id. A declined payment leaves no entry.
"""

from __future__ import annotations

import uuid
from functools import cache

from functions.domain.error import Invalid
from functions.domain.event import PaymentDeclined, PaymentRefunded, TransactionData
from functions.domain.identity import derived_id
from functions.domain.payment import TransactionKind
from functions.runtime.database import Database
from functions.runtime.event import Event, event_function
from functions.statement.entries import Entries, Entry


@cache
def entries() -> Entries:
    """The entries of STATEMENT_DATABASE_URL."""
    return Entries(Database.of("statement"))


async def write(event: Event) -> None:
    """Writes the event's entry. Raises Invalid for what is not a transaction of a card."""
    data = event.transaction()
    if not isinstance(data, PaymentDeclined):
        await entries().post(entry_of(event, data))


def entry_of(event: Event, data: TransactionData) -> Entry:
    """The entry that the event stands for."""
    if not data.card.token:
        raise Invalid("money was moved on no card")
    try:
        entry_id = uuid.UUID(derived_id("entry", event.source, event.id))
    except ValueError as error:
        raise Invalid(f"the event's source or id: {error}") from None
    kind = TransactionKind.REFUND if isinstance(data, PaymentRefunded) else TransactionKind.PAYMENT
    return Entry(
        id=entry_id,
        card_token=data.card.token,
        kind=kind.value,
        transaction_id=data.transaction_id,
        order_id=data.order_id,
        refund_of=data.refund_of if kind is TransactionKind.REFUND else None,
        amount_minor=data.amount_minor,
        currency=data.currency,
        store=data.store,
        description=data.description,
        payment_date=data.payment_date,
    )


post = event_function(write)
