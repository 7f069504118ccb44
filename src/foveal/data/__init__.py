"""Stage 1: images on disk to records, findings and subsets."""
