"""Whether a folder holds a model: told before a tokenizer or an engine fails in other words."""

from __future__ import annotations

from pathlib import Path


def require_model(path: str, named_by: str) -> None:
    """Check a model's folder; the name of a model on a hub passes.

    Args:
        path: Folder, or name on a hub; a folder that is not there passes too.
        named_by: What gave it, such as a config key.

    Raises:
        ValueError: If it is a folder without a ``config.json``.
    """
    folder = Path(path)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ValueError(
            f"{named_by}: {folder} holds no model (there is no config.json); name a folder that "
            "save_pretrained wrote, or a model on the hub."
        )
