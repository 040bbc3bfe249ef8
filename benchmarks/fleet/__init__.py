"""Many processes and one limit: for real, and in a simulation."""
