import sys

import pytest


@pytest.fixture(autouse=True)
def torch_runs_encoders(monkeypatch):
    """Spare tests the half second in which OpenVINO compiles a model."""
    monkeypatch.setitem(sys.modules, "openvino", None)
