"""Predictions as files."""
