"""A trained model is served as its run trained it, by its run's folder alone."""

import json
import shlex
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from search_r1.configs.presets import compose
from search_r1.serve import main

CHATML = (
    "{% for m in messages %}<|user|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|user|>assistant\n{% endif %}"
)


@pytest.fixture
def run_of(tmp_path, bpe_tokenizer):
    """Write the folder that a run of a preset leaves, but for the weights."""

    def write(preset, *overrides):
        run_dir = tmp_path / preset
        model = run_dir / "checkpoints" / "global_step_3" / "actor" / "huggingface"
        bpe_tokenizer.save_pretrained(model)
        (model / "chat_template.jinja").write_text(CHATML)  # as SmolLM2's, it names no tool
        (model / "model.safetensors").touch()
        (run_dir / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("3")
        config = compose(preset, overrides)
        OmegaConf.save(config, run_dir / "config.yaml")
        return run_dir, model

    return write


def printed_command(capsys, *arguments):
    assert main(["--port", "0", "--dry-run", *map(str, arguments)]) == 0
    words = shlex.split(capsys.readouterr().out)
    start = words.index(sys.executable)
    return dict(word.split("=", 1) for word in words[1:start]), words[start:]


def value_of(command, option):
    return command[len(command) - command[::-1].index(option)]  # the last one counts


@pytest.mark.parametrize("is_model", [False, True])
def test_a_run_of_the_quickstart_is_served_with_its_prompt_and_limits(capsys, run_of, is_model):
    run_dir, model = run_of("quickstart")
    _, command = printed_command(capsys, "--model", model if is_model else run_dir)
    assert value_of(command, "--model") == str(model)
    assert value_of(command, "--tool-call-parser") == "search_r1"
    texts = json.loads(value_of(command, "--default-chat-template-kwargs"))["search_tags"]
    assert (texts["first"], texts["after"]) == ("Question: ", "\n")
    assert json.loads(value_of(command, "--override-generation-config")) == {"max_new_tokens": 32}
    assert value_of(command, "--max-model-len") == "544"


def test_a_run_of_quickstart_hermes_is_served_with_its_parser_and_prompt(capsys, run_of):
    run_dir, model = run_of("quickstart_hermes")
    variables, command = printed_command(capsys, "--model", run_dir)
    assert value_of(command, "--model") == str(model)
    assert value_of(command, "--tool-call-parser") == "search_r1_hermes"
    parser = json.loads(variables["SEARCH_R1_SERVED_PARSER"])
    assert parser == {"name": "hermes", "options": {"is_single_call": True}, "plugin": None}
    prompt = json.loads(value_of(command, "--default-chat-template-kwargs"))["chat_prompt"]
    assert prompt["messages"] == [{"role": "user", "content": f"Question: {prompt['mark']}\n"}]
    assert value_of(command, "--max-model-len") == "640"


def test_what_the_command_line_says_counts_more_than_the_run(capsys, run_of):
    run_dir, _ = run_of("quickstart")
    options = ["--prompt", "two_shot", "--", "--max-model-len", "99"]
    _, command = printed_command(capsys, "--model", run_dir, *options)
    texts = json.loads(value_of(command, "--default-chat-template-kwargs"))["search_tags"]
    assert texts["first"].startswith("Question: who wrote the novel Dracula?")
    assert value_of(command, "--max-model-len") == "99"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["search_r1.prompt=null"], "name it with --prompt"),
        (["search_r1.parser=hermes"], "parser 'hermes' with result_style 'raw'"),
    ],
)
def test_a_run_that_cannot_be_served_as_it_is_says_why(capsys, run_of, overrides, message):
    run_dir, _ = run_of("quickstart", *overrides)
    assert main(["--model", str(run_dir), "--dry-run"]) == 1
    assert message in capsys.readouterr().err


def test_a_run_without_a_model_says_what_to_wait_for(capsys, run_of):
    run_dir, model = run_of("quickstart")
    (model / "model.safetensors").unlink()
    assert main(["--model", str(run_dir), "--dry-run"]) == 1
    error = capsys.readouterr().err
    assert str(Path("global_step_3") / "actor" / "huggingface") in error
    assert "first checkpoint" in error
