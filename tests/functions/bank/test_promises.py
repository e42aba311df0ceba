"""Promises 2, 3 and 7 of docs/promises, over random sequences of concurrent operations at two banks on one ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.domain.card import CardProof
from functions.domain.identity import derived_id
from protos.codebank.bank.v1 import bank_pb2 as pb
from tests.functions.bank.desk import Client, Desk, code_of, fresh_key, open_desk, pay_request, together

pytestmark = pytest.mark.anyio

CARDS, KEYS, LIMIT_MINOR = 2, 5, 100

cards = st.integers(0, CARDS - 1)
keys = st.integers(0, KEYS - 1)
amounts = st.sampled_from([1, 30, 40, 60, 100, 101])

operations = st.one_of(
    st.tuples(st.just("pay"), cards, keys, amounts),
    st.tuples(st.just("pay"), cards, keys, st.just(30)),
    st.tuples(st.just("pay"), cards, st.none(), amounts),
    st.tuples(st.just("refund"), st.integers(0, 9), st.none() | keys, st.sampled_from([0, 1, 20, 30, 60])),
    st.tuples(st.just("cancel"), keys),
    st.tuples(st.just("limit"), cards, st.sampled_from([0, 50, 100, 200])),
    st.tuples(st.just("block"), cards, st.booleans()),
)
steps = st.lists(st.lists(operations, min_size=1, max_size=8), min_size=1, max_size=5)


@pytest.fixture
async def branch(bank_url: str, keys_path: Path, desk: Desk) -> AsyncIterator[Desk]:
    """A second bank on the same ledger."""
    opened = await open_desk(bank_url, keys_path)
    yield opened
    await opened.close()


@dataclass
class Story:
    """What one example does, and what it was told so far."""

    desks: list[Desk]
    cards: list[tuple[CardProof, pb.Card]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    told: dict[str, list[pb.Transaction]] = field(default_factory=dict)
    fenced: set[str] = field(default_factory=set)
    rows: dict[str, set[str]] = field(default_factory=dict)

    async def run(self, place: int, operation: tuple[Any, ...]) -> None:
        """One operation, at one of the banks."""
        desk = self.desks[place % len(self.desks)]
        kind, *details = operation
        if kind == "limit":
            token = self.cards[details[0]][1].token
            await self._allow(
                desk.operator, "SetCardLimit", pb.SetCardLimitRequest(token=token, limit_minor=details[1])
            )
        elif kind == "block":
            token, method = self.cards[details[0]][1].token, "BlockCard" if details[1] else "UnblockCard"
            await self._allow(desk.operator, method, getattr(pb, f"{method}Request")(token=token))
        else:
            await self._decide(desk.merchant, kind, details)

    async def _decide(self, client: Client, kind: str, details: list[Any]) -> None:
        position = details[0] if kind == "cancel" else details[1]
        key = fresh_key() if position is None else self.keys[position]
        if kind == "pay":
            request = pay_request(self.cards[details[0]][0], details[2], idempotency_key=key)
            answer = await self._allow(client, "Pay", request)
        elif kind == "refund":
            payments = [told[0].id for told in self.told.values() if told[0].kind == pb.TRANSACTION_KIND_PAYMENT]
            of = payments[details[0] % len(payments)] if payments else derived_id("nothing")
            refund = pb.RefundRequest(idempotency_key=key, transaction_id=of, amount_minor=details[2])
            answer = await self._allow(client, "Refund", refund)
        else:
            cancelled = await self._allow(client, "Cancel", pb.CancelRequest(idempotency_key=key))
            if cancelled.fenced:
                self.fenced.add(key)
            answer = None if cancelled.fenced else cancelled.transaction
        if answer is not None:
            self.told.setdefault(key, []).append(answer)

    async def _allow(self, client: Client, method: str, request: Any) -> Any:
        [answer] = await together(client.call(method, request))
        code = code_of(answer)
        allowed = {
            grpc.StatusCode.OK,
            grpc.StatusCode.ALREADY_EXISTS,
            grpc.StatusCode.FAILED_PRECONDITION,
            grpc.StatusCode.NOT_FOUND,
        }
        assert code in allowed, answer
        return answer if code is grpc.StatusCode.OK else None

    async def assert_promises(self) -> None:
        """What must be so after every step."""
        desk = self.desks[0]
        await desk.assert_books()
        for key, answers in self.told.items():
            assert all(answer == answers[0] for answer in answers), "one key, one answer"
            assert key not in self.fenced, "a fenced key decides nothing"
        for _, card in self.cards:
            [row] = await desk.fetch(
                """
                select c.balance_minor, c.limit_minor, coalesce(sum(case t.kind when 'payment' then -t.amount_minor
                    else t.amount_minor end) filter (where t.decline_code is null), 0) as moved_minor
                from cards c left join transactions t on t.card_account_id = c.account_id
                where c.token = $1 group by c.account_id
                """,
                card.token,
            )
            assert row["balance_minor"] == row["moved_minor"]
            assert -row["limit_minor"] <= row["balance_minor"] <= 0
        for table in ("transactions", "entries", "idempotency_keys"):
            rows = {row["t"] for row in await desk.fetch(f"select t::text from {table} t")}
            assert rows >= self.rows.get(table, set()), f"what is in {table} stays as it is"
            self.rows[table] = rows


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=steps)
async def test_whatever_happens_at_once_the_books_and_the_answers_agree(
    desk: Desk, branch: Desk, story: list[list[tuple[Any, ...]]]
) -> None:
    told = Story([desk, branch])
    told.cards = [await desk.issue(limit_minor=LIMIT_MINOR) for _ in range(CARDS)]
    told.keys = [fresh_key() for _ in range(KEYS)]
    for step in story:
        outcomes = await together(*(told.run(place, operation) for place, operation in enumerate(step)))
        assert [outcome for outcome in outcomes if outcome is not None] == []
        await told.assert_promises()
