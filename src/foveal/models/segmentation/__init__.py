"""Segmentation networks: an encoder and a decoder."""
