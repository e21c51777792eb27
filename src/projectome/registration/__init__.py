"""Brains carried into an atlas and back, with the error stated in micrometres."""
