"""Where things are: the repository, artifacts, runs and the packaged presets."""

import os
from pathlib import Path

CONFIGS = Path(__file__).absolute().parents[1] / "configs"
RUN_ID_VARIABLE = "SEARCH_R1_RUN_ID"


def root_dir() -> Path:
    """Folder of the checkout, or the current folder when the package was installed from a wheel."""
    checkout = Path(__file__).absolute().parents[2]
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def artifacts_dir() -> Path:
    """Folder of models, indexes and questions: ``SEARCH_R1_ARTIFACTS`` or ``artifacts/``."""
    configured = os.environ.get("SEARCH_R1_ARTIFACTS")
    return Path(configured).expanduser().absolute() if configured else root_dir() / "artifacts"


def runs_dir() -> Path:
    """Folder of all runs: ``SEARCH_R1_RUNS`` or ``runs/``."""
    configured = os.environ.get("SEARCH_R1_RUNS")
    return Path(configured).expanduser().absolute() if configured else root_dir() / "runs"


def locate(path: str) -> str:
    """Make a path of a preset or an override absolute.

    ``artifacts/...`` is looked up in :func:`artifacts_dir`; anything else is taken from the current
    folder. What does not exist there stays as it is: it may be the name of a model on a hub.
    """
    parts = Path(path).parts
    if parts[:1] == ("artifacts",):
        return str(artifacts_dir().joinpath(*parts[1:]))
    found = Path(path).expanduser().absolute()
    return str(found) if found.exists() else path
