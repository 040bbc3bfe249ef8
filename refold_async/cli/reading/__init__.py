"""From the bytes of a file to the rows in it, and to the triggers that they make."""
