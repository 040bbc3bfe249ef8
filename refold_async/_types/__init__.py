"""The values, errors and results of the library. Nothing here imports anything else of it."""
