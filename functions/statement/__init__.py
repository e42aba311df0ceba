"""The cardholder's statement: entries made of the bank's events, and the sessions of who may read them."""
