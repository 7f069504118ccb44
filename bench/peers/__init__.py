"""What the benches compare with, each as its own documentation does it."""
