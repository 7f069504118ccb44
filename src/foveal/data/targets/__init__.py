"""What a model learns to predict for each image, one task a file; `registry.py` lists them."""
