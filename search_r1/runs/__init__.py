"""Where runs and artifacts are, what a run's folder holds, and how far its processes are."""
