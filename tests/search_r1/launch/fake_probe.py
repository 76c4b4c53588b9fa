"""Stands in for the probe: leaves a made-up estimate beside the config."""

import json
import sys
from pathlib import Path

estimate = {
    "parts_s": {"training": 2400},
    "start_s": 120,
    "step_s": 1140,
    "evaluation_s": 0,
    "line": "about 40 minutes from here: training 40",
    "advice": "30 minutes are enough for trainer.total_training_steps=1 (now 2).",
}
Path(sys.argv[1]).with_name("estimate.json").write_text(json.dumps(estimate))
