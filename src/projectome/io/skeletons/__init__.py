"""Readers and writers of skeletons."""
