"""Hydra presets: overlays on verl's own ``ppo_trainer`` config, each listing only what differs."""
