"""Batches: arrays, crops, augmentation."""
