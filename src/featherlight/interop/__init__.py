"""Foreign weight files and layouts: names and channel permutations, nothing else."""
