"""How cheap, how fast and how truthful `refold_async` is beside other clients: `python -m benchmarks --help`."""
