"""Training as jobs of a Slurm cluster: submitting them, running them on a node, and showing their state."""
