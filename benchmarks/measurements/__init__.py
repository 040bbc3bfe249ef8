"""The measurements. What runs in a worker is the `turn` of each module."""
