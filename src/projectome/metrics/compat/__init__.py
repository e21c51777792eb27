"""Scores exactly as other programs give them, their habits included."""
