"""Leaf: networks by name."""
