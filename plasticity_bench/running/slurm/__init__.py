"""Training as jobs of a Slurm cluster: what is submitted, what runs on a node, what is done, what failed."""
