"""What is around a trigger: executions, and finding out what became of a send. Loaded when first used."""
