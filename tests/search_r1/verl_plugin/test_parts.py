"""What a training process checks and builds from its config before the first rollout."""

import gc
import weakref

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from data_prep.questions import Question
from data_prep.rows import make_rows, write_rows
from search_r1.verl_plugin.parts import ProcessParts, check_prompts, load_tokenizer, shared
from tests.tiny_model import CHAT_TEMPLATE


@pytest.fixture
def config_of(tmp_path, bpe_tokenizer):
    """Make a training config over question files of one row."""
    bpe_tokenizer.save_pretrained(tmp_path / "model")
    rows = make_rows([("tiny", Question("1", "who wrote Dracula", ("Bram",)))], "train", "two_shot")
    write_rows(rows, tmp_path / "questions.parquet")

    def make(max_prompt_length=2000, **section):
        return OmegaConf.create(
            {
                "search_r1": section,
                "actor_rollout_ref": {"model": {"path": str(tmp_path / "model")}},
                "data": {
                    "train_files": str(tmp_path / "questions.parquet"),
                    "val_files": [str(tmp_path / "questions.parquet")],
                    "max_prompt_length": max_prompt_length,
                },
            }
        )

    return make


def test_a_config_that_fits_passes(config_of):
    check_prompts(config_of())
    check_prompts(config_of(prompt="search_r1"))


def test_a_prompt_in_another_format_than_the_parsers_is_refused(config_of):
    with pytest.raises(ValueError, match="nothing in the prompt is a call that the parser Hermes"):
        check_prompts(config_of(parser="hermes"))
    check_prompts(config_of(parser="hermes", is_format_checked=False))


def test_observations_are_not_trained_on_with_log_probs_they_never_had(config_of):
    config = config_of(is_observation_masked=False)
    check_prompts(config)
    config.algorithm = {"rollout_correction": {"bypass_mode": True}}
    with pytest.raises(ValueError, match="set algorithm"):
        check_prompts(config)


@pytest.mark.parametrize("stage", ["cold_start", "evaluation"])
def test_stages_in_a_format_that_writes_no_calls_are_refused(config_of, stage):
    section = {stage: {"questions": "q.parquet"}, "is_format_checked": False}
    check_prompts(config_of(parser="hermes", **section))
    with pytest.raises(ValueError, match="does not write calls"):
        check_prompts(config_of(parser="llama3_json", **section))


def test_a_prompt_that_is_too_long_is_refused(config_of):
    with pytest.raises(ValueError, match=r"more than data.max_prompt_length=20; raise it"):
        check_prompts(config_of(max_prompt_length=20))


def prompt_ids_of(config, rows):
    made = ProcessParts(config, load_tokenizer(config.actor_rollout_ref.model))
    return [made.parts.style.prompt_ids(row["prompt"]) for row in rows]


@pytest.mark.parametrize("style", ["raw", "chat"])
def test_a_long_prompt_anywhere_in_a_file_is_refused(config_of, tmp_path, style):
    questions = [Question(str(i), "who wrote it" + " again" * i, ("Bram",)) for i in range(40)]
    questions += questions[:1]
    rows = make_rows([("tiny", question) for question in questions], "train", "bare")
    write_rows(rows, tmp_path / "questions.parquet")
    config = config_of(is_format_checked=False, prompt_style=style)
    config.actor_rollout_ref.model.custom_chat_template = CHAT_TEMPLATE
    lengths = [len(ids) for ids in prompt_ids_of(config, rows)]
    config.data.max_prompt_length = max(lengths)
    check_prompts(config)
    config.data.max_prompt_length -= 1
    with pytest.raises(ValueError, match=rf"a prompt has {max(lengths)} tokens, more than"):
        check_prompts(config)


def test_the_tokenizer_is_the_one_training_reads(config_of, tmp_path, bpe_tokenizer):
    """Its own folder and chat template, as verl's workers have it."""
    bpe_tokenizer.save_pretrained(tmp_path / "tokenizer")
    for file in (tmp_path / "model").iterdir():
        file.unlink()
    config = config_of()
    model = config.actor_rollout_ref.model
    model.tokenizer_path = str(tmp_path / "tokenizer")
    model.custom_chat_template = "{{ messages }}"
    assert load_tokenizer(model).chat_template == "{{ messages }}"
    check_prompts(config)


def test_rows_without_usable_gold_answers_are_refused_before_training(config_of, tmp_path):
    path = tmp_path / "questions.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[0]["reward_model"]["ground_truth"]["target"] = "Paris"
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(ValueError, match=r"questions.parquet, row 0: .*target is 'Paris'"):
        check_prompts(config_of())


def test_a_question_file_without_a_row_is_refused(config_of, tmp_path):
    write_rows([], tmp_path / "questions.parquet")
    with pytest.raises(ValueError, match=r"questions.parquet has no question; make it again"):
        check_prompts(config_of())


def test_the_configs_prompt_takes_the_place_of_the_rows(config_of, bpe_tokenizer):
    row = {
        "raw_prompt": [{"role": "user", "content": "as it was"}],
        "extra_info": {"question": "who wrote Dracula"},
    }
    assert ProcessParts(config_of(), bpe_tokenizer).messages_of(row) == row["raw_prompt"]
    made = ProcessParts(config_of(prompt="search_r1"), bpe_tokenizer)
    assert made.messages_of(row)[0]["content"].endswith("Question: who wrote Dracula?\n")
    assert made.messages_of(row | {"extra_info": {}, "question": "who?"})
    with pytest.raises(ValueError, match=r"a row has no extra_info.question"):
        made.messages_of(row | {"extra_info": {}})


def test_an_unknown_key_of_the_section_is_refused(config_of, bpe_tokenizer):
    with pytest.raises(ValueError, match="unknown key in the search_r1 section"):
        ProcessParts(config_of(parsers="hermes"), bpe_tokenizer)


def test_a_config_lives_as_long_as_its_parts_so_that_no_other_is_taken_for_it(
    config_of, bpe_tokenizer
):
    config = config_of()
    known = weakref.ref(config)
    shared(config, bpe_tokenizer)
    del config
    gc.collect()
    assert known() is not None
