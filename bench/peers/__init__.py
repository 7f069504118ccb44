"""Programs that foveal is compared with, each used as its own documentation shows."""
