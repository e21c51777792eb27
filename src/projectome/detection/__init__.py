"""Somata: candidates, tests, block-wise detection."""
