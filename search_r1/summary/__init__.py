"""What a run has shown: read back from its folder, summed up, in tables and pictures."""
