"""Hyper-parameters, one family a file."""
