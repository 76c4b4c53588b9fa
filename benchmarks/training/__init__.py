"""How much of the machine's own speed training and rollouts keep: ``make bench``."""
