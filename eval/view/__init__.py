"""The viewer: trajectories of evaluations and training runs, read where they lie."""
