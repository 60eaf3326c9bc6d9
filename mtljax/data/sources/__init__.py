"""Data sets as lazily read rows with named features: the ground of everything else."""
