"""Checks of the files that a config names and that are here already, before anything reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search_r1.errors import LaunchError
from search_r1.model_folder import require_model


def check_files(config: dict[str, Any]) -> None:
    """Raise LaunchError for a model folder without a model, or questions that are no parquet."""
    try:
        require_model(config["actor_rollout_ref"]["model"]["path"], "actor_rollout_ref.model.path")
    except ValueError as error:
        raise LaunchError(str(error)) from error
    for key in ("train_files", "val_files"):
        files = config["data"][key]
        for file in [files] if isinstance(files, str) else files:
            if Path(file).is_file():
                _require_parquet(f"data.{key}", file)


def _require_parquet(key: str, file: str) -> None:
    import pyarrow.parquet  # late: few runs of the launcher need it

    try:
        pyarrow.parquet.read_metadata(file)
    except pyarrow.ArrowInvalid as error:
        raise LaunchError(
            f"{key}: {file} is no parquet file ({error}); make it with data_prep, or name another."
        ) from error
