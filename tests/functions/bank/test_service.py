"""The service as its callers see it: over gRPC, on a real port and a real database."""

from __future__ import annotations

from itertools import chain
from typing import Any

import grpc
import grpc.aio
import jwt
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from functions.bank.token import Role
from functions.domain.card import Brand, CardNumber, CardProof, Cvv, Expiry
from functions.domain.error import Busy, Conflict, Invalid
from functions.domain.identity import derived_id
from functions.runtime.bank import Bank, bank_errors
from protos.codebank.bank.v1 import bank_pb2 as pb
from tests.functions.bank.desk import SERVICE, Client, Desk, code_of, fresh_key, pay_request, proof_message, together

pytestmark = pytest.mark.anyio

STATUS = grpc.StatusCode


def details_of(error: object, kind: type[BadRequest | RetryInfo | ErrorInfo]) -> list[object]:
    """The details of that kind that an error carries."""
    assert isinstance(error, grpc.aio.AioRpcError)
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    found = []
    for packed in status.details:
        message = kind()
        if packed.Unpack(message):
            found.append(message)
    return found


async def refused(call: object) -> grpc.aio.AioRpcError:
    """The error of a call that must not succeed."""
    [answer] = await together(call)
    assert isinstance(answer, grpc.aio.AioRpcError), answer
    return answer


def wrong_cvv(proof: CardProof) -> CardProof:
    """The proof with another CVV."""
    digits = proof.cvv.reveal()
    return CardProof(proof.name, proof.number, proof.expiry, Cvv(str(9 - int(digits[0])) + digits[1:]))


async def test_a_payment_is_approved_charges_the_card_and_can_be_read_again(desk: Desk) -> None:
    proof, card = await desk.issue(limit_minor=1000)
    paid = await desk.merchant.pay(proof, 400)
    assert paid.status == pb.TRANSACTION_STATUS_APPROVED
    assert paid.kind == pb.TRANSACTION_KIND_PAYMENT
    assert (paid.amount_minor, paid.currency, paid.merchant, paid.store) == (400, "BRL", "shop", "A store")
    assert (paid.card_token, paid.card_brand, paid.card_last4) == (card.token, "visa", proof.number.last4)
    assert paid.decline_code == pb.DECLINE_CODE_UNSPECIFIED
    assert await desk.merchant.call("GetTransaction", pb.GetTransactionRequest(id=paid.id)) == paid
    shown = await desk.operator.call("BlockCard", pb.BlockCardRequest(token=card.token))
    assert (shown.available_minor, shown.limit_minor, shown.blocked) == (600, 1000, True)
    await desk.assert_books()


async def test_the_transaction_id_derives_from_merchant_and_key(desk: Desk) -> None:
    proof, _ = await desk.issue()
    request = pay_request(proof)
    paid = await desk.merchant.call("Pay", request)
    assert paid.id == derived_id("transaction", "shop", request.idempotency_key)


async def test_a_repeat_is_given_the_first_answer_also_after_a_refund(desk: Desk) -> None:
    proof, card = await desk.issue(limit_minor=100)
    request = pay_request(proof, 100)
    first = await desk.merchant.call("Pay", request)
    await desk.merchant.call("Refund", pb.RefundRequest(idempotency_key=fresh_key(), transaction_id=first.id))
    assert await desk.merchant.call("Pay", request) == first
    request.card.cvv = wrong_cvv(proof).cvv.reveal()
    assert await desk.merchant.call("Pay", request) == first, "a CVV cannot be tried out under a key that is used"
    assert await desk.value("select wrong_cvvs from cards where token = $1", card.token) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"amount_minor": 101},
        {"description": "Another thing"},
        {"store": "Another store"},
        {"order_id": "order-2"},
    ],
)
async def test_the_same_key_for_another_request_is_an_error(desk: Desk, change: dict[str, object]) -> None:
    proof, _ = await desk.issue()
    request = pay_request(proof, 100)
    await desk.merchant.call("Pay", request)
    for field, value in change.items():
        setattr(request, field, value)
    error = await refused(desk.merchant.call("Pay", request))
    assert error.code() is STATUS.ALREADY_EXISTS
    assert details_of(error, ErrorInfo) == [ErrorInfo(reason="IDEMPOTENCY_KEY_REUSED", domain="codebank")]


async def test_the_same_key_with_another_card_is_an_error(desk: Desk) -> None:
    proof, _ = await desk.issue()
    other, _ = await desk.issue()
    request = pay_request(proof, 100)
    await desk.merchant.call("Pay", request)
    request.card.CopyFrom(proof_message(other))
    assert (await refused(desk.merchant.call("Pay", request))).code() is STATUS.ALREADY_EXISTS


async def test_keys_of_two_merchants_do_not_meet(desk: Desk) -> None:
    proof, _ = await desk.issue()
    other = Client(desk.address, desk.token(Role.MERCHANT, "other"))
    request = pay_request(proof, 100)
    first, second = await together(desk.merchant.call("Pay", request), other.call("Pay", request))
    await other.close()
    assert first.id != second.id
    assert {first.merchant, second.merchant} == {"shop", "other"}


async def test_what_is_wrong_is_said_for_each_field(desk: Desk) -> None:
    error = await refused(desk.merchant.call("Pay", pb.PayRequest(amount_minor=-1, currency="XXX", store="a\x00b")))
    assert error.code() is STATUS.INVALID_ARGUMENT
    [bad] = details_of(error, BadRequest)
    assert isinstance(bad, BadRequest)
    assert {(violation.field, violation.reason) for violation in bad.field_violations} == {
        ("idempotency_key", "invalid_key"),
        ("card.number", "invalid_number"),
        ("card.expiration_month", "invalid_expiry"),
        ("card.cvv", "invalid_cvv"),
        ("amount_minor", "invalid_amount"),
        ("currency", "unknown_currency"),
        ("store", "control_characters"),
    }


async def test_numbers_are_masked_in_free_text_and_refused_in_ids(desk: Desk) -> None:
    proof, _ = await desk.issue()
    number = proof.number.reveal()
    spaced = " ".join(number[start : start + 4] for start in range(0, 16, 4))
    paid = await desk.merchant.pay(proof, description=f"card {spaced}", store=number)
    assert paid.description == "card ************" + number[-4:]
    assert paid.store == "************" + number[-4:]
    for error in (
        await refused(desk.merchant.pay(proof, order_id=f"x-{number}")),
        await refused(desk.merchant.pay(proof, idempotency_key=f"x-{number}")),
    ):
        assert error.code() is STATUS.INVALID_ARGUMENT
    rows = await desk.fetch("select t::text from transactions t")
    assert not any(number in row["t"] for row in rows)


async def test_emoji_are_kept_and_lengths_are_counted_in_characters(desk: Desk) -> None:
    proof, _ = await desk.issue()
    paid = await desk.merchant.pay(proof, description="☕" + "🍰" * 999)
    assert paid.description == "☕" + "🍰" * 999
    error = await refused(desk.merchant.pay(proof, description="🍰" * 1001))
    assert error.code() is STATUS.INVALID_ARGUMENT


async def test_a_malformed_message_is_the_callers_mistake_and_the_server_lives(desk: Desk) -> None:
    raw: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = desk.merchant.channel.unary_unary(f"/{SERVICE}/Pay")
    error = await refused(raw(b"\xff\xff\xff", metadata=desk.merchant.metadata))
    assert error.code() is STATUS.INVALID_ARGUMENT
    assert (await refused(raw(b"x" * 200_000, metadata=desk.merchant.metadata))).code() is STATUS.RESOURCE_EXHAUSTED
    proof, _ = await desk.issue()
    assert (await desk.merchant.pay(proof)).status == pb.TRANSACTION_STATUS_APPROVED


async def test_a_refund_gives_back_part_by_part_and_never_more(desk: Desk) -> None:
    proof, card = await desk.issue(limit_minor=1000)
    paid = await desk.merchant.pay(proof, 1000)

    async def refund(amount_minor: int) -> object:
        request = pb.RefundRequest(idempotency_key=fresh_key(), transaction_id=paid.id, amount_minor=amount_minor)
        return await desk.merchant.call("Refund", request)

    first = await refund(300)
    assert isinstance(first, pb.Transaction)
    assert (first.kind, first.refund_of, first.amount_minor) == (pb.TRANSACTION_KIND_REFUND, paid.id, 300)
    assert (first.card_token, first.order_id, first.store) == (card.token, paid.order_id, paid.store)
    answers = await together(*(refund(400) for _ in range(4)))
    assert sorted(map(str, map(code_of, answers))) == sorted(map(str, [STATUS.OK, *[STATUS.FAILED_PRECONDITION] * 3]))
    rest = await refund(0)
    assert isinstance(rest, pb.Transaction)
    assert rest.amount_minor == 300
    error = await refused(refund(0))
    assert details_of(error, ErrorInfo) == [ErrorInfo(reason="NOT_REFUNDABLE", domain="codebank")]
    read = await desk.merchant.call("GetTransaction", pb.GetTransactionRequest(id=paid.id))
    assert read.refunded_minor == 1000
    assert (await desk.merchant.pay(proof, 1000)).status == pb.TRANSACTION_STATUS_APPROVED
    await desk.assert_books()


async def test_a_refund_is_once_per_key_and_of_ones_own_payment(desk: Desk) -> None:
    proof, _ = await desk.issue()
    paid = await desk.merchant.pay(proof, 100)
    request = pb.RefundRequest(idempotency_key=fresh_key(), transaction_id=paid.id, amount_minor=60)
    first, second = await together(desk.merchant.call("Refund", request), desk.merchant.call("Refund", request))
    assert first == second
    request.amount_minor = 40
    assert (await refused(desk.merchant.call("Refund", request))).code() is STATUS.ALREADY_EXISTS
    other = Client(desk.address, desk.token(Role.MERCHANT, "other"))
    request.idempotency_key = fresh_key()
    assert (await refused(other.call("Refund", request))).code() is STATUS.NOT_FOUND
    assert (
        await refused(other.call("GetTransaction", pb.GetTransactionRequest(id=paid.id)))
    ).code() is STATUS.NOT_FOUND
    await other.close()
    request = pb.RefundRequest(idempotency_key=fresh_key(), transaction_id=first.id)
    assert (await refused(desk.merchant.call("Refund", request))).code() is STATUS.FAILED_PRECONDITION


async def test_a_declined_payment_cannot_be_refunded(desk: Desk) -> None:
    proof, _ = await desk.issue(limit_minor=10)
    declined = await desk.merchant.pay(proof, 11)
    assert declined.decline_code == pb.DECLINE_CODE_INSUFFICIENT_FUNDS
    request = pb.RefundRequest(idempotency_key=fresh_key(), transaction_id=declined.id)
    assert (await refused(desk.merchant.call("Refund", request))).code() is STATUS.FAILED_PRECONDITION


async def test_cancel_answers_what_was_decided_or_fences_the_key(desk: Desk) -> None:
    proof, _ = await desk.issue()
    request = pay_request(proof)
    paid = await desk.merchant.call("Pay", request)
    known = await desk.merchant.call("Cancel", pb.CancelRequest(idempotency_key=request.idempotency_key))
    assert known.transaction == paid
    assert not known.fenced

    late = pay_request(proof)
    for _ in range(2):
        fenced = await desk.merchant.call("Cancel", pb.CancelRequest(idempotency_key=late.idempotency_key))
        assert fenced.fenced
        assert not fenced.HasField("transaction")
    error = await refused(desk.merchant.call("Pay", late))
    assert error.code() is STATUS.FAILED_PRECONDITION
    assert details_of(error, ErrorInfo) == [ErrorInfo(reason="IDEMPOTENCY_KEY_CANCELLED", domain="codebank")]
    assert await desk.value("select count(*) from transactions") == 1


async def test_of_a_payment_and_a_cancel_at_once_one_is_first(desk: Desk) -> None:
    proof, _ = await desk.issue(limit_minor=10**9)
    for _ in range(20):
        request = pay_request(proof)
        cancel = pb.CancelRequest(idempotency_key=request.idempotency_key)
        paid, cancelled = await together(desk.merchant.call("Pay", request), desk.merchant.call("Cancel", cancel))
        if code_of(paid) is STATUS.OK:
            assert cancelled.transaction == paid
        else:
            assert code_of(paid) is STATUS.FAILED_PRECONDITION
            assert cancelled.fenced
    await desk.assert_books()


async def test_transactions_are_listed_newest_first_page_by_page_to_who_may_see_them(desk: Desk) -> None:
    proof, card = await desk.issue()
    second, _ = await desk.issue()
    other = Client(desk.address, desk.token(Role.MERCHANT, "other"))
    ids = [(await desk.merchant.pay(proof, amount)).id for amount in range(1, 6)]
    ids.append((await desk.merchant.pay(second)).id)
    foreign = (await other.pay(proof)).id

    async def pages(client: Client, **more: Any) -> list[list[str]]:
        found, token = [], ""
        while True:
            request = pb.ListTransactionsRequest(page_size=2, page_token=token, **more)
            answer = await client.call("ListTransactions", request)
            found.append([transaction.id for transaction in answer.transactions])
            token = answer.next_page_token
            if not token:
                return found

    newest_first = ids[::-1]
    assert await pages(desk.merchant) == [newest_first[0:2], newest_first[2:4], newest_first[4:6]]
    assert list(chain(*await pages(desk.merchant, card_token=card.token))) == newest_first[1:]
    assert list(chain(*await pages(other))) == [foreign]
    assert list(chain(*await pages(desk.operator))) == [foreign, *newest_first]
    assert list(chain(*await pages(desk.operator, card_token=card.token))) == [foreign, *newest_first[1:]]
    await other.close()


@pytest.mark.parametrize(
    "request_fields",
    [{"page_size": -1}, {"page_size": 1001}, {"page_token": "x"}, {"page_token": "9" * 30}, {"card_token": "1"}],
)
async def test_odd_pages_are_refused(desk: Desk, request_fields: dict[str, Any]) -> None:
    request = pb.ListTransactionsRequest(**request_fields)
    assert (await refused(desk.merchant.call("ListTransactions", request))).code() is STATUS.INVALID_ARGUMENT


async def test_a_blocked_card_is_declined_until_it_is_unblocked(desk: Desk) -> None:
    proof, card = await desk.issue()
    await desk.operator.call("BlockCard", pb.BlockCardRequest(token=card.token))
    assert (await desk.merchant.pay(proof)).decline_code == pb.DECLINE_CODE_CARD_BLOCKED
    assert (await desk.anyone.call("SignIn", pb.SignInRequest(card=proof_message(proof)))).card.blocked
    await desk.operator.call("UnblockCard", pb.UnblockCardRequest(token=card.token))
    assert (await desk.merchant.pay(proof)).status == pb.TRANSACTION_STATUS_APPROVED


async def test_a_limit_is_changed_but_not_below_what_is_owed(desk: Desk) -> None:
    proof, card = await desk.issue(limit_minor=100)
    await desk.merchant.pay(proof, 80)
    raised = await desk.operator.call("SetCardLimit", pb.SetCardLimitRequest(token=card.token, limit_minor=200))
    assert (raised.limit_minor, raised.available_minor) == (200, 120)
    assert (await desk.merchant.pay(proof, 120)).status == pb.TRANSACTION_STATUS_APPROVED
    lower = pb.SetCardLimitRequest(token=card.token, limit_minor=199)
    assert (await refused(desk.operator.call("SetCardLimit", lower))).code() is STATUS.FAILED_PRECONDITION
    negative = pb.SetCardLimitRequest(token=card.token, limit_minor=-1)
    assert (await refused(desk.operator.call("SetCardLimit", negative))).code() is STATUS.INVALID_ARGUMENT


@pytest.mark.parametrize("brand", [Brand.VISA, Brand.MASTERCARD, Brand.AMEX, Brand.ELO])
async def test_a_card_is_issued_with_a_number_of_its_brand(desk: Desk, brand: Brand) -> None:
    proof, card = await desk.issue(brand=brand.value)
    assert CardNumber(proof.number.reveal()).brand is brand
    assert card.brand == brand
    assert (await desk.merchant.pay(proof)).status == pb.TRANSACTION_STATUS_APPROVED


async def test_a_card_of_nobody_or_of_an_odd_kind_is_not_issued(desk: Desk) -> None:
    number = (await desk.issue())[0].number.reveal()
    for fields in (
        {"name": " "},
        {"name": "x" * 101},
        {"name": f"Ana {number}"},
        {"name": "a\nb"},
        {"currency": "brl"},
        {"brand": "other"},
        {"limit_minor": -1},
        {"limit_minor": 2**62},
    ):
        error = await refused(desk.issue(**fields))
        assert error.code() is STATUS.INVALID_ARGUMENT, fields


async def test_the_token_of_a_card_that_is_not_there_is_not_found(desk: Desk) -> None:
    nobody = "00000000-0000-4000-8000-000000000000"
    for method, request in (
        ("BlockCard", pb.BlockCardRequest(token=nobody)),
        ("UnblockCard", pb.UnblockCardRequest(token=nobody)),
        ("SetCardLimit", pb.SetCardLimitRequest(token=nobody, limit_minor=1)),
        ("GetTransaction", pb.GetTransactionRequest(id=nobody)),
    ):
        client = desk.merchant if method == "GetTransaction" else desk.operator
        assert (await refused(client.call(method, request))).code() is STATUS.NOT_FOUND
    assert (await refused(desk.operator.call("BlockCard", pb.BlockCardRequest(token="x")))).code() is (
        STATUS.INVALID_ARGUMENT
    )


MERCHANTS_ONLY = {"Pay": pb.PayRequest(), "Refund": pb.RefundRequest(), "Cancel": pb.CancelRequest()}
OPERATORS_ONLY = {
    "IssueCard": pb.IssueCardRequest(),
    "BlockCard": pb.BlockCardRequest(),
    "UnblockCard": pb.UnblockCardRequest(),
    "SetCardLimit": pb.SetCardLimitRequest(),
}
EITHER = {"GetTransaction": pb.GetTransactionRequest(), "ListTransactions": pb.ListTransactionsRequest()}


async def test_each_method_is_for_its_roles(desk: Desk) -> None:
    for method, request in (MERCHANTS_ONLY | OPERATORS_ONLY | EITHER).items():
        assert (await refused(desk.anyone.call(method, request))).code() is STATUS.UNAUTHENTICATED, method
    for method, request in OPERATORS_ONLY.items():
        assert (await refused(desk.merchant.call(method, request))).code() is STATUS.PERMISSION_DENIED, method
    for method, request in MERCHANTS_ONLY.items():
        assert (await refused(desk.operator.call(method, request))).code() is STATUS.PERMISSION_DENIED, method


async def test_a_cardholder_signs_in_and_others_can_verify_the_session(desk: Desk) -> None:
    proof, card = await desk.issue()
    session = await desk.anyone.call("SignIn", pb.SignInRequest(card=proof_message(proof)))
    jwks = await desk.anyone.call("GetJsonWebKeySet", pb.GetJsonWebKeySetRequest())
    keys = jwt.PyJWKSet.from_json(jwks.json)
    key = keys[jwt.get_unverified_header(session.token)["kid"]]
    claims = jwt.decode(session.token, key, algorithms=["ES256"], audience="statement", issuer="codebank")
    assert (claims["sub"], claims["brand"], claims["last4"]) == (card.token, "visa", proof.number.last4)
    assert claims["exp"] == session.expires_at.seconds
    assert session.card.token == card.token
    error = await refused(Client(desk.address, session.token).call("ListTransactions", pb.ListTransactionsRequest()))
    assert error.code() is STATUS.UNAUTHENTICATED, "a cardholder's session is not a merchant's token"


async def test_sign_in_does_not_tell_a_wrong_proof_from_an_unknown_card(desk: Desk) -> None:
    proof, _ = await desk.issue()
    unknown = CardProof("x", CardNumber("4111111111111111"), Expiry(2039, 1), Cvv("123"))
    other_expiry = CardProof(proof.name, proof.number, Expiry(2039, 1), proof.cvv)
    errors = [
        await refused(desk.anyone.call("SignIn", pb.SignInRequest(card=proof_message(wrong))))
        for wrong in (unknown, wrong_cvv(proof), other_expiry)
    ]
    assert {(error.code(), error.details()) for error in errors} == {
        (STATUS.UNAUTHENTICATED, "this is not a card of this bank, as it is written")
    }


async def test_guesses_lock_the_card_and_a_right_proof_is_refused_the_same_way(desk: Desk) -> None:
    proof, _ = await desk.issue()
    wrong = pb.SignInRequest(card=proof_message(wrong_cvv(proof)))
    right = pb.SignInRequest(card=proof_message(proof))
    for _ in range(3):
        assert (await refused(desk.anyone.call("SignIn", wrong))).code() is STATUS.UNAUTHENTICATED
    locked = [await refused(desk.anyone.call("SignIn", request)) for request in (wrong, right)]
    assert {(error.code(), error.details()) for error in locked} == {
        (STATUS.RESOURCE_EXHAUSTED, "the card is locked for a while after wrong attempts")
    }
    [retry] = details_of(locked[1], RetryInfo)
    assert isinstance(retry, RetryInfo)
    assert 0 < retry.retry_delay.seconds <= 60
    assert (await desk.merchant.pay(proof)).decline_code == pb.DECLINE_CODE_CARD_LOCKED
    assert (await desk.merchant.pay(wrong_cvv(proof))).decline_code == pb.DECLINE_CODE_CARD_LOCKED


async def test_guesses_at_once_are_counted_one_by_one(desk: Desk) -> None:
    proof, card = await desk.issue()
    answers = await together(*(desk.merchant.pay(wrong_cvv(proof)) for _ in range(20)))
    codes = [answer.decline_code for answer in answers]
    assert codes.count(pb.DECLINE_CODE_INCORRECT_CVC) == 3
    assert codes.count(pb.DECLINE_CODE_CARD_LOCKED) == 17
    assert await desk.value("select wrong_cvvs from cards where token = $1", card.token) == 3


async def test_an_unknown_card_is_declined_and_shown_as_nothing(desk: Desk) -> None:
    unknown = CardProof("x", CardNumber("4111111111111111"), Expiry(2039, 1), Cvv("123"))
    declined = await desk.merchant.pay(unknown)
    assert declined.decline_code == pb.DECLINE_CODE_UNKNOWN_CARD
    assert (declined.card_token, declined.card_brand, declined.card_last4) == ("", "", "")


async def test_a_payment_in_another_currency_than_the_cards_is_declined(desk: Desk) -> None:
    proof, _ = await desk.issue(currency="JPY")
    assert (await desk.merchant.pay(proof)).decline_code == pb.DECLINE_CODE_CURRENCY_MISMATCH
    assert (await desk.merchant.pay(proof, currency="JPY")).status == pb.TRANSACTION_STATUS_APPROVED
    await desk.assert_books()


async def test_the_steps_client_reads_the_banks_errors(desk: Desk) -> None:
    proof, _ = await desk.issue()
    bank = Bank(desk.address, desk.token(Role.MERCHANT, "shop"))
    try:
        with pytest.raises(Invalid) as invalid, bank_errors():
            await bank.stub.Pay(pay_request(proof, 0, store="\n"), metadata=bank.metadata())
        assert {fault.pointer for fault in invalid.value.faults} == {"#/amount_minor", "#/store"}
        request = pay_request(proof)
        await bank.stub.Cancel(pb.CancelRequest(idempotency_key=request.idempotency_key), metadata=bank.metadata())
        with pytest.raises(Conflict), bank_errors():
            await bank.stub.Pay(request, metadata=bank.metadata())
        for _ in range(3):
            await bank.stub.Pay(pay_request(wrong_cvv(proof)), metadata=bank.metadata())
        with pytest.raises(Busy) as busy, bank_errors():
            await bank.stub.SignIn(pb.SignInRequest(card=proof_message(proof)))
        assert 1 < busy.value.retry_after_seconds <= 60
    finally:
        await bank.close()


async def test_health_and_reflection_are_served(desk: Desk) -> None:
    health: Any = health_pb2_grpc.HealthStub(desk.anyone.channel)
    for service in ("", SERVICE, "payment.PaymentService"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(desk.anyone.channel)  # type: ignore[arg-type]
    request: Any = reflection_pb2.ServerReflectionRequest(list_services="")
    [answer] = [answer async for answer in stub.ServerReflectionInfo(iter([request]))]
    names = {service.name for service in answer.list_services_response.service}
    assert {SERVICE, "payment.PaymentService", "grpc.health.v1.Health"} <= names
