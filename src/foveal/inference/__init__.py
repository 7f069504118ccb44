"""Stage 4: a bundle → predictions. Imports nothing of training."""
