"""Stands in for the commands of a cold start: ``fake_cold_start.py CONFIG FOLDER``.

Leaves a model and a receipt, or fails where ``FAKE_COLD_START`` says so.
"""

import json
import os
import sys
from pathlib import Path

import yaml

from search_r1.cold_start import inputs_of

config = yaml.safe_load(Path(sys.argv[1]).read_text())
folder = Path(sys.argv[2])
assert "url" in config["search_r1"]["retriever"]["client"], "demonstrations need the retriever"
if os.environ["FAKE_COLD_START"] == "fail":
    raise ValueError("there are too few demonstrations")
(folder / "model").mkdir()
receipt = {"inputs": inputs_of(config), "seconds": 1.5}
(folder / "cold_start.json").write_text(json.dumps(receipt))
