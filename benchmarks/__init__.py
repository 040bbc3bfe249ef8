"""What things cost, as ratios between contenders in one run, because machines are noisy."""
