"""Async client for Refold."""
