"""`foveal serve RUN`: a local page and a REST API (the extra `serve`). Imports nothing of training."""
