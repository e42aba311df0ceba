"""operations: what could not be delivered, and whether the books agree."""
