"""Voxels to neurite probability and instance labels."""
