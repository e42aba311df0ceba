"""The store: products, orders, and what the bank decided about them."""
