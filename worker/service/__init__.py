"""The worker among others: its card in Redis, orders, leaving, and staying out while it is ill."""
