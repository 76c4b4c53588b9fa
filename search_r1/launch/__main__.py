"""``python -m search_r1.launch PRESET [overrides]``."""

from search_r1.launch.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
