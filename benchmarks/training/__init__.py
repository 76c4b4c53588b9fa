"""How much of the machine's speed training and rollouts keep: ``make bench``. One part a file."""
