"""`refold-async outbox`."""
