"""Start, watch and stop processes: for training, serving and evaluation."""
