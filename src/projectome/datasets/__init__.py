"""Data with known truth, and records of public data."""
