"""From a file to pixels: one decoding path, one preprocessing, arrays."""
