"""The worker among others: its status in Redis, orders, draining, and staying out while its machine fails."""
