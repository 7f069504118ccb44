"""Stage 5: a predictor on labelled data → figures, report."""
