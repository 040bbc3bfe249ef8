"""Commands that only read from Refold: `executions` and `events`."""
