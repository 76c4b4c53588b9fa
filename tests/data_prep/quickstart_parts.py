"""What the tests of the quickstart's data begin from."""

import shutil

from data_prep.quickstart_questions import QuestionOptions

OPTIONS = QuestionOptions(prompt_name="search_r1", top_k=3, unfiltered=10)


def put_wheels(wheels, artifacts):
    """As after an earlier download, so that most tests do without pip."""
    (artifacts / "assets").mkdir(parents=True)
    for wheel in wheels.made:
        shutil.copy(wheel, artifacts / "assets")
