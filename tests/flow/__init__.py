"""The whole path on real processes: from the shop's address to the statement, and through every kind of crash."""
