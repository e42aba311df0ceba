"""The card bank: cards, a double-entry ledger, payments over gRPC, and the outbox that announces them."""
