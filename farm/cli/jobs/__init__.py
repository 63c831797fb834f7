"""Commands about jobs, and what they show."""
