"""The worker among others: its status in Redis, orders, leaving, and staying out while its machine fails."""
