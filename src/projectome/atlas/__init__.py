"""Atlases of brains: where they come from, and what lies in their regions."""
