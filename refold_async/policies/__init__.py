"""Pure decisions: when to retry, how fast to go, and what an ending means. No I/O here."""
