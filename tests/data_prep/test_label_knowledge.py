from dataclasses import replace

import pytest

from data_prep import label_knowledge
from data_prep.knowledge.candidates import Candidate
from data_prep.knowledge.samples import Answers, Sampling, read_samples, write_samples
from data_prep.questions import Question
from data_prep.sources import QUICKSTART
from data_prep.steps import DataPrepError

RUN = Candidate(
    "past_tense", Question("past_tense-0001", "what is the past tense of run?", ("ran",)), ()
)
MOUSE = Candidate("plural", Question("plural-0001", "what is the plural of mouse?", ("mice",)), ())


def test_prompt_shows_two_examples_of_the_same_kind():
    assert label_knowledge.knowledge_prompt(RUN) == (
        "Question: what is the past tense of ask?\nAnswer: asked\n\n"
        "Question: what is the past tense of go?\nAnswer: went\n\n"
        "Question: what is the past tense of run?\nAnswer:"
    )


@pytest.fixture
def scripted(monkeypatch, artifacts):
    """The command with a policy that writes its temperature, on two candidates."""
    model = artifacts / "models" / "smollm2-135m-instruct"
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"weights")

    async def sample(folder, candidates, temperature, count):
        return [[f"{each.source} {temperature}"] * count for each in candidates]

    monkeypatch.setattr(label_knowledge, "_sample", sample)
    monkeypatch.setattr(
        label_knowledge, "fetch_assets", lambda assets, folder: {QUICKSTART.policy.package: folder}
    )
    monkeypatch.setattr(label_knowledge, "export_policy", lambda asset, wheel, target: False)
    monkeypatch.setattr(label_knowledge, "read_candidates", lambda assets, wheels: [RUN, MOUSE])


def test_every_candidate_is_asked_greedily_and_at_a_temperature(scripted, tmp_path):
    path = tmp_path / "samples.jsonl"
    assert label_knowledge.main(["--out", str(path)]) == 0
    sampling, answers = read_samples(path)
    assert sampling.temperature == 0.8
    assert answers == {
        ("past_tense", RUN.question.text): Answers("past_tense 0.0", ("past_tense 0.8",) * 3),
        ("plural", MOUSE.question.text): Answers("plural 0.0", ("plural 0.8",) * 3),
    }


def test_named_sources_are_sampled_again_and_others_kept(scripted, tmp_path):
    path = tmp_path / "samples.jsonl"
    label_knowledge.label(path, ())
    sampling, answers = read_samples(path)
    old = Answers("old", ("old",) * 3)
    write_samples(path, sampling, [(*key, old) for key in answers])
    label_knowledge.label(path, ["plural"])
    _, again = read_samples(path)
    assert again["past_tense", RUN.question.text] == old
    assert again["plural", MOUSE.question.text].greedy == "plural 0.0"


def test_one_file_holds_one_way_of_sampling(scripted, tmp_path):
    path = tmp_path / "samples.jsonl"
    other = Sampling("other", "0" * 64, "float32", "{}", 0.8, 3, 10, 0)
    write_samples(path, replace(other, seed=1), [])
    with pytest.raises(DataPrepError, match=r"one way of sampling.*Leave --sources out"):
        label_knowledge.label(path, ["plural"])
