"""`refold-async bench`."""
