"""HotpotQA from the hub: ``python -m data_prep.hotpotqa --out DIR``."""

import sys

from data_prep.hub import HubSet, run

HOTPOTQA = HubSet(
    name="hotpotqa",
    splits=("train", "dev"),  # the test split has no answers
    license="CC-BY-SA-4.0",
    attribution="HotpotQA, Yang et al., 2018; open-domain form by FlashRAG.",
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; see ``data_prep.steps.run_command`` for the exit codes."""
    return run(HOTPOTQA, arguments)


if __name__ == "__main__":
    sys.exit(main())
