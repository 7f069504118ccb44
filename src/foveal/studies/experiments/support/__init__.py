"""What several experiments share, or is too long for their file. It imports torch: import it inside functions."""
