"""What an outbox costs its app, and whether its relays keep the rate."""
