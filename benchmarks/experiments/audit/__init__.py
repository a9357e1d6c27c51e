"""The audit of a user's own table."""
