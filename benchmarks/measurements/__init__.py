"""The measurements, one file each: `turn` runs beside the contender, in its process, and `run` gives out the turns."""
