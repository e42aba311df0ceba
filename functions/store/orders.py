"""Orders: stored before the bank is asked, and brought to their end by whoever hears first what the bank decided."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, DateTime, Index, LargeBinary, SmallInteger, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from functions.domain.error import Conflict, Fault, Invalid, NotFound
from functions.domain.money import Money
from functions.domain.order import TOTAL_MINOR_MAX, Decision, OrderStatus, refunded_status, settled_status
from functions.runtime.database import Database
from functions.store.products import Product


class Order(SQLModel, table=True):
    """One order. Amounts are in minor units of its currency; of the card there is what may be shown."""

    __tablename__ = "orders"
    __table_args__ = (Index("orders_pending", "created_at", postgresql_where=text("status = 'pending'")),)

    id: uuid.UUID = Field(primary_key=True)
    idempotency_key: str = Field(sa_type=Text, unique=True)
    request_digest: bytes = Field(sa_type=LargeBinary)
    status: str = Field(sa_type=Text)
    total_minor: int = Field(sa_type=BigInteger)
    refunded_minor: int = Field(default=0, sa_type=BigInteger)
    currency: str = Field(sa_type=Text)
    card_brand: str = Field(sa_type=Text)
    card_last4: str = Field(sa_type=Text)
    transaction_id: str | None = Field(default=None, sa_type=Text)
    decline_code: str | None = Field(default=None, sa_type=Text)
    created_at: dt.datetime = Field(sa_type=DateTime(timezone=True))

    def settle(self, decision: Decision) -> None:
        """Takes the decision in. Raises Conflict where it cannot be this order's."""
        if decision.transaction_id is not None:
            self._expect(decision.transaction_id, decision.amount)
        status = settled_status(OrderStatus(self.status), decision.status)
        if status != self.status:
            self.status = status.value
            self.transaction_id = decision.transaction_id
            self.decline_code = decision.decline_code

    def refund(self, payment_id: str, amount: Money) -> None:
        """Takes in that so much was given back. Raises Conflict where it cannot be of this order."""
        self._expect(payment_id, None)
        if amount.currency != self.currency:
            raise Conflict(f"a refund in {amount.currency} was heard of for an order in {self.currency}")
        refunded_minor = self.refunded_minor + amount.amount_minor
        self.status = refunded_status(OrderStatus(self.status), self.total_minor, refunded_minor).value
        self.refunded_minor = refunded_minor
        self.transaction_id = payment_id

    def _expect(self, transaction_id: str, amount: Money | None) -> None:
        if self.transaction_id not in (None, transaction_id):
            raise Conflict("an order was heard to be paid by another transaction than its own")
        if amount is not None and amount != Money(self.total_minor, self.currency):
            raise Conflict(f"an order of {Money(self.total_minor, self.currency)} was heard to be paid with {amount}")


class OrderItem(SQLModel, table=True):
    """One product of an order, with its name and the price of one piece as they were then."""

    __tablename__ = "order_items"
    __table_args__ = (UniqueConstraint("order_id", "product_id"),)

    order_id: uuid.UUID = Field(primary_key=True, foreign_key="orders.id")
    line: int = Field(primary_key=True, sa_type=SmallInteger)
    product_id: uuid.UUID
    slug: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    quantity: int = Field(sa_type=SmallInteger)
    price_minor: int = Field(sa_type=BigInteger)


class OrderRefund(SQLModel, table=True):
    """One refund of an order, by the bank's transaction."""

    __tablename__ = "order_refunds"

    transaction_id: str = Field(primary_key=True, sa_type=Text)
    order_id: uuid.UUID = Field(foreign_key="orders.id")
    amount_minor: int = Field(sa_type=BigInteger)


class WholeOrder(NamedTuple):
    """An order with its items."""

    order: Order
    items: Sequence[OrderItem]


@dataclass(frozen=True)
class OrderRequest:
    """What a shopper asked for.

    quantities has how many pieces of each product; digest is the same for the same request. faults is what is wrong
    with it only while it is new: a card that has expired since does not take back an order that was placed.
    """

    quantities: dict[uuid.UUID, int]
    card_brand: str
    card_last4: str
    digest: bytes
    faults: tuple[Fault, ...]


UNKNOWN_PRODUCT: Final = "There is no such product."


class Orders:
    """The orders in the store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def place(self, idempotency_key: str, request: OrderRequest) -> WholeOrder:
        """Stores a pending order with prices as they are now, or answers the one that the key stands for.

        Raises Conflict where the key stands for another request, Invalid where the order cannot be placed.
        """
        async with self._database.transaction() as session:
            found = await _by_key(session, idempotency_key)
            if found is None:
                placed = await _new(session, idempotency_key, request)
                if await _insert(session, placed):
                    return placed
                found = await _by_key(session, idempotency_key)
        if found is None or found.order.request_digest != request.digest:
            raise Conflict("The idempotency key stands for another order.")
        return found

    async def find(self, order_id: uuid.UUID) -> WholeOrder:
        """One order. Raises NotFound."""
        async with self._database.transaction() as session:
            order = await session.get(Order, order_id)
            if order is None:
                raise NotFound("There is no such order.")
            return WholeOrder(order, await _items(session, order))

    async def settle(self, order_id: uuid.UUID, decision: Decision) -> Order:
        """Brings the order in line with the decision. Raises NotFound, Conflict where both cannot be true."""
        async with self._database.transaction() as session:
            order = await _locked(session, order_id)
            order.settle(decision)
            return order

    async def refund(self, order_id: uuid.UUID, *, refund_id: str, payment_id: str, amount: Money) -> None:
        """Counts the refund, once. Raises NotFound, Conflict where it cannot be of this order."""
        async with self._database.transaction() as session:
            order = await _locked(session, order_id)
            if await session.get(OrderRefund, refund_id) is None:
                order.refund(payment_id, amount)
                session.add(OrderRefund(transaction_id=refund_id, order_id=order_id, amount_minor=amount.amount_minor))

    async def pending(self, *, before: dt.datetime, limit: int) -> Sequence[Order]:
        """The oldest of the orders that were placed before then and are still pending."""
        query = select(Order).where(Order.status == OrderStatus.PENDING.value, col(Order.created_at) < before)
        async with self._database.transaction() as session:
            return (await session.exec(query.order_by(col(Order.created_at)).limit(limit))).all()


async def _by_key(session: AsyncSession, idempotency_key: str) -> WholeOrder | None:
    order = (await session.exec(select(Order).where(Order.idempotency_key == idempotency_key))).one_or_none()
    return None if order is None else WholeOrder(order, await _items(session, order))


async def _items(session: AsyncSession, order: Order) -> Sequence[OrderItem]:
    query = select(OrderItem).where(OrderItem.order_id == order.id).order_by(col(OrderItem.line))
    return (await session.exec(query)).all()


async def _locked(session: AsyncSession, order_id: uuid.UUID) -> Order:
    order = (await session.exec(select(Order).where(Order.id == order_id).with_for_update())).one_or_none()
    if order is None:
        raise NotFound("There is no such order.")
    return order


async def _insert(session: AsyncSession, placed: WholeOrder) -> bool:
    """Whether the order was stored; not where another one with its key was first."""
    order = insert(Order).values(placed.order.model_dump()).on_conflict_do_nothing(index_elements=["idempotency_key"])
    if (await session.exec(order.returning(col(Order.id)))).first() is None:
        return False
    await session.exec(insert(OrderItem).values([item.model_dump() for item in placed.items]))
    return True


async def _new(session: AsyncSession, idempotency_key: str, request: OrderRequest) -> WholeOrder:
    """The order as it is to be stored. Raises Invalid with every fault, products at "#/items"."""
    query = select(Product).where(col(Product.id).in_(request.quantities))
    products = {product.id: product for product in (await session.exec(query)).all()}
    faults = list(request.faults)
    for line, product_id in enumerate(request.quantities):
        pointer = f"#/items/{line}/product_id"
        if product_id not in products:
            faults.append(Fault(pointer, "unknown_product", UNKNOWN_PRODUCT))
    currencies = {product.currency for product in products.values()}
    if len(currencies) > 1:
        faults.append(Fault("#/items", "mixed_currencies", "The products of one order have one currency."))
    total_minor = sum(product.price_minor * request.quantities[product.id] for product in products.values())
    if total_minor > TOTAL_MINOR_MAX:
        faults.append(Fault("#/items", "out_of_range", f"An order costs at most {TOTAL_MINOR_MAX} minor units."))
    if faults:
        raise Invalid("The order has mistakes.", tuple(faults))
    order = Order(
        id=uuid.uuid4(),
        idempotency_key=idempotency_key,
        request_digest=request.digest,
        status=OrderStatus.PENDING.value,
        total_minor=total_minor,
        currency=currencies.pop(),
        card_brand=request.card_brand,
        card_last4=request.card_last4,
        created_at=dt.datetime.now(dt.UTC),
    )
    items = [
        OrderItem(
            order_id=order.id,
            line=line,
            product_id=product_id,
            slug=products[product_id].slug,
            name=products[product_id].name,
            quantity=quantity,
            price_minor=products[product_id].price_minor,
        )
        for line, (product_id, quantity) in enumerate(request.quantities.items())
    ]
    return WholeOrder(order, items)
