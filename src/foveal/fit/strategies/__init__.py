"""Ways to learn, one file each, with `estimate()` and `fit()`; the ladder climbs them in order."""
