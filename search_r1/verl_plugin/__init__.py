"""The only package that imports verl: an agent loop, a trainer with our metrics, a CPU platform.

verl imports this module in every process, through ``VERL_USE_EXTERNAL_MODULES`` (set by the
launcher; errors are raised) and through the ``verl.plugins`` entry point (for other launchers; verl
hides errors there). It does nothing unless the CPU platform was chosen explicitly with
``VERL_PLATFORM=cpu``.
"""

import os

if os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu":
    from search_r1.verl_plugin.cpu import install

    install()
