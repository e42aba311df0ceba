"""What is true of money, cards, payments, orders and their events, and how it can fail. No I/O, no framework."""
