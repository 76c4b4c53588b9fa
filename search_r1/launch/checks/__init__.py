"""What is checked before a run starts: its config, its files, and what it needs of the machine."""
