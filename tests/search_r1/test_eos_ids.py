"""At which tokens a model's turns end: where vLLM stops, whoever asks."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from search_r1.eos_ids import eos_ids_of
from search_r1.loop import LoopConfig, SearchLoop
from search_r1.parsers.formats.search_tags import SearchTagsParser
from search_r1.policies.scripted import ScriptedPolicy
from search_r1.tokens import HfCodec
from search_r1.tools.search import SearchTool
from search_r1.tools.toolbox import ToolBox
from search_r1.types import FinishReason, Generation, StopReason

OWN, LISTED, CONFIGURED = 0, 1, 2  # <|end|>, <|user|>, and a token of text
CASES = [
    ({"eos_token_id": [LISTED, OWN]}, CONFIGURED, (OWN, LISTED)),
    ({"eos_token_id": LISTED}, CONFIGURED, (OWN, LISTED)),
    ({}, CONFIGURED, (OWN,)),
    (None, CONFIGURED, (OWN, CONFIGURED)),
    (None, None, (OWN,)),
]


@pytest.fixture
def model_of(tmp_path, bpe_tokenizer):
    """Write the files of a model that say where its turns end; gives its folder."""

    def write(generation_config, eos_token_id):
        config = {"model_type": "llama", "eos_token_id": eos_token_id}
        (tmp_path / "config.json").write_text(json.dumps(config))
        if generation_config is not None:
            (tmp_path / "generation_config.json").write_text(json.dumps(generation_config))
        bpe_tokenizer.save_pretrained(tmp_path)
        return str(tmp_path)

    return write


@pytest.mark.parametrize(("generation_config", "eos_token_id", "ids"), CASES)
def test_turns_end_at_the_tokenizers_token_and_at_those_listed(
    model_of, bpe_tokenizer, generation_config, eos_token_id, ids
):
    assert bpe_tokenizer.eos_token_id == OWN
    assert eos_ids_of(model_of(generation_config, eos_token_id), bpe_tokenizer) == ids


@pytest.mark.slow
@pytest.mark.parametrize(("generation_config", "eos_token_id", "ids"), CASES)
def test_vllm_ends_turns_there(model_of, bpe_tokenizer, generation_config, eos_token_id, ids):
    from vllm import SamplingParams
    from vllm.transformers_utils.config import try_get_generation_config

    read = try_get_generation_config(model_of(generation_config, eos_token_id), False)
    params = SamplingParams()
    params.update_from_generation_config(read.to_diff_dict(), bpe_tokenizer.eos_token_id)
    assert {params.eos_token_id, *params.stop_token_ids} == set(ids)


def test_a_model_that_names_no_such_token_is_refused(model_of):
    folder = model_of({}, None)
    with pytest.raises(ValueError, match="names no token at which its turns end"):
        eos_ids_of(folder, SimpleNamespace(eos_token_id=None))


@pytest.mark.parametrize("last", [OWN, LISTED])
def test_a_turn_that_ends_at_either_is_no_abort(model_of, bpe_tokenizer, searcher_of, last):
    codec = HfCodec(bpe_tokenizer, eos_ids_of(model_of({"eos_token_id": LISTED}, 0), bpe_tokenizer))
    ids = [*codec.encode("I do not know."), last]

    class Engine:
        async def generate(self, context_ids, **_):
            return Generation(ids, [-1.0] * len(ids))

    tools = ToolBox([SearchTool(searcher_of())])
    loop = SearchLoop(Engine(), codec, SearchTagsParser(), tools, LoopConfig(max_nudges=0))
    trajectory = asyncio.run(loop.run(codec.encode("who?")))
    assert trajectory.turns[0].stop_reason is FinishReason.EOS
    assert trajectory.stop_reason is StopReason.NO_ACTION


def test_a_scripted_turn_ends_at_the_tokenizers_own(model_of, bpe_tokenizer):
    listed = eos_ids_of(model_of({"eos_token_id": LISTED}, 0), bpe_tokenizer)
    for eos_ids, last in ((listed, OWN), (listed[::-1], LISTED)):
        codec = HfCodec(bpe_tokenizer, eos_ids)
        turn = ScriptedPolicy(["two"], codec).generate([5], max_tokens=9, stop=())
        assert asyncio.run(turn).ids[-1] == last
