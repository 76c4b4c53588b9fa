"""The launcher behind ``train.sh``: composes a preset, checks the machine, runs and sums up.

The process that lives as long as the run stays small: whatever imports hydra, verl or matplotlib
does so in a child that ends.
"""
