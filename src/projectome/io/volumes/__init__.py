"""Readers and writers of volumes."""
