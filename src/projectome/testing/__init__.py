"""Contracts that readers, steps and executors have to keep, to be subclassed in tests."""
