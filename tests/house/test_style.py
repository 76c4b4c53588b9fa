import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def check_style() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_style", ROOT / "scripts/check_style.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_style"] = module
    spec.loader.exec_module(module)
    return module


def function(name: str, n_lines: int) -> str:
    return f"def {name}():\n" + "    x = 1\n" * (n_lines - 1)


@pytest.mark.slow
def test_the_repository_keeps_its_own_limits(
    check_style: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    status = check_style.main([])
    assert status == 0, capsys.readouterr().out


def test_a_function_of_50_lines_passes_and_one_of_51_does_not(
    check_style: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sample.py"
    path.write_text(function("fits", 50))
    assert check_style.main([str(path)]) == 0
    path.write_text(function("fits", 50) + function("long", 51))
    assert check_style.main([str(path)]) == 1
    assert f"{path}:51: long() has 51 lines" in capsys.readouterr().out


def test_a_file_of_301_lines_fails(
    check_style: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sample.sh"
    path.write_text("true\n" * 300)
    assert check_style.main([str(path)]) == 0
    path.write_text("true\n" * 301)
    assert check_style.main([str(path)]) == 1
    assert "301 lines" in capsys.readouterr().out


def test_hidden_and_generated_folders_are_left_out_without_git(
    check_style: ModuleType, tmp_path: Path
) -> None:
    for name in ("kept.py", ".venv/lib/a.py", "artifacts/b.py", "runs/c.py", "kept/d.sh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("pass\n")
    names = [str(p.relative_to(tmp_path)) for p in check_style.source_files(tmp_path)]
    assert names == ["kept/d.sh", "kept.py"]
