"""HTTP APIs as tools, described in YAML."""
