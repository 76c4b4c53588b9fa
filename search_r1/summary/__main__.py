"""``python -m search_r1.summary RUN_DIR``."""

from search_r1.summary.summarize import main

if __name__ == "__main__":
    raise SystemExit(main())
