"""Natural Questions from the hub: ``python -m data_prep.nq --out DIR``."""

import sys

from data_prep.hub import HubSet, run

NQ = HubSet(
    name="nq",
    splits=("train", "test"),
    license="CC-BY-SA-3.0",
    attribution="Natural Questions, Kwiatkowski et al., 2019; open-domain form by FlashRAG.",
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; see ``data_prep.steps.run_command`` for the exit codes."""
    return run(NQ, arguments)


if __name__ == "__main__":
    sys.exit(main())
