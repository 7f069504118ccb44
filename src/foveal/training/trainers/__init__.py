"""Trainers: networks trained by gradient descent, one file a kind."""
