"""Stage 3: features or pixels, and targets, become the best model that the time allows."""
