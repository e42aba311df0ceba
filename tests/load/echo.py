"""The limit to compare with: a grpc.aio server that answers a payment's bytes and does nothing else.

`python -m tests.load.echo PORT`, on the same event loop as the bank.
"""

from __future__ import annotations

import asyncio
import sys

import grpc
import grpc.aio
import uvloop

from protos.codebank.bank.v1 import bank_pb2 as pb

ANSWER = pb.Transaction(
    id="0" * 36,
    kind=pb.TRANSACTION_KIND_PAYMENT,
    status=pb.TRANSACTION_STATUS_APPROVED,
    amount_minor=100,
    currency="BRL",
    merchant="bench",
    store="bench",
    description="a payment of the benchmark",
    order_id="0" * 36,
    card_token="0" * 36,
    card_brand="visa",
    card_last4="0000",
)


async def _pay(
    message: pb.PayRequest, context: grpc.aio.ServicerContext[pb.PayRequest, pb.Transaction]
) -> pb.Transaction:
    return ANSWER


async def _serve(port: int) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    method = grpc.unary_unary_rpc_method_handler(
        _pay, request_deserializer=pb.PayRequest.FromString, response_serializer=pb.Transaction.SerializeToString
    )
    service = pb.DESCRIPTOR.services_by_name["Bank"].full_name
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {"Pay": method})])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
