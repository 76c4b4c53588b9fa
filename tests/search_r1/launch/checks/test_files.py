"""Files that are there and are not what the config says."""

from pathlib import Path
from typing import Any

import pytest

from search_r1.errors import LaunchError
from search_r1.launch.checks.files import check_files


def config_of(model: Path | str, questions: Path) -> dict[str, Any]:
    return {
        "actor_rollout_ref": {"model": {"path": str(model)}},
        "data": {"train_files": str(questions), "val_files": [str(questions)]},
    }


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    config = config_of(tmp_path, tmp_path / "none.parquet")
    with pytest.raises(LaunchError, match=rf"model\.path: {tmp_path} holds no model \(there is no"):
        check_files(config)
    (tmp_path / "config.json").touch()
    check_files(config)
    check_files(config_of("a-name/on-a-hub", tmp_path / "none.parquet"))


def test_questions_that_are_no_parquet_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_text("rows")
    with pytest.raises(LaunchError, match=r"data\.train_files: \S*rows\.parquet is no parq"):
        check_files(config_of("a-name/on-a-hub", path))
