"""Our parsers against the installed vLLM's: the same calls, or a difference that is named here.

Every disagreement must fall under one entry of DIFFERENCES, and every entry must be seen.
"""

import json
import logging
import random
from dataclasses import dataclass

import pytest

from search_r1.parsers import ParseStatus, get_tool_parser
from tests.search_r1.parsers.outputs import TOOLS, outputs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Pair:
    """One of our formats beside one of vLLM's parsers with a tokenizer of its kind."""

    format: str
    vllm: str
    special_tokens: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()  # writers whose outputs this tokenizer's models write; all if none


PAIRS = {
    "hermes": Pair("hermes", "hermes", ("<tool_call>", "</tool_call>")),
    "llama3_json": Pair("llama3_json", "llama3_json", ("<|python_tag|>",)),
    "pythonic": Pair("pythonic", "pythonic", (), ("template",)),
    "llama4_pythonic": Pair("pythonic", "llama4_pythonic", ("<|python_start|>", "<|python_end|>")),
    "mistral list": Pair("mistral", "mistral", ("[TOOL_CALLS]",), ("list", "indented")),
    "mistral named": Pair(
        "mistral", "mistral", ("[TOOL_CALLS]", "[ARGS]"), ("named", "args marker")
    ),
    "qwen3_xml": Pair("qwen3_xml", "qwen3_xml", ("<tool_call>", "</tool_call>")),
}

TEXT_AROUND = "text stands before or after the calls"
KEEPS_GOOD = "a broken call does not take the good ones of its turn with it"
UNCLOSED = "a call that was not closed is malformed, however complete it looks"
NO_OBJECT = "arguments that are no object cannot be passed to a tool"
NO_JSON = "a value that cannot be sent as JSON would break the client"
NO_NAME = "a call without a name calls nothing"
STRICT = "what the template would not write is malformed, and said to be"

PYTHONIC = {
    "called": TEXT_AROUND,
    "is not a literal": STRICT,
    "a key of a dict is not text": NO_JSON,
    "is not a finite number": NO_JSON,
    "is not a call": KEEPS_GOOD,
    "must be named": KEEPS_GOOD,
}

DIFFERENCES = {
    "hermes": {
        "was not closed by": UNCLOSED,
        "is not valid JSON": KEEPS_GOOD,
        'has no "': KEEPS_GOOD,
        "closes a call that was never opened": STRICT,
        "must be a JSON object, not text": NO_OBJECT,
        "must be a JSON object, not null": NO_OBJECT,
        "must be text, not empty text": NO_NAME,
        "is not a finite number": NO_JSON,
        "half of a \\u pair": NO_JSON,
    },
    "llama3_json": {
        "called": "a brace in the text around a call does not undo it",
        "text": "an object is a call when its first key is one of a call's; other JSON is text",
        "was not closed": KEEPS_GOOD,
        "is not valid JSON": KEEPS_GOOD,
        'has no "': KEEPS_GOOD,
        "was not followed by a JSON object": STRICT,
        "must be a JSON object, not text": NO_OBJECT,
        'has both "parameters" and "arguments"': STRICT,
    },
    "pythonic": PYTHONIC,
    "llama4_pythonic": {**PYTHONIC, "closes a list that was never opened": STRICT},
    "mistral list": {
        "called": "both shapes are read, whichever of them the tokenizer's models write",
        'has no "arguments"': STRICT,
        'has no "name"': NO_NAME,
        "must be a JSON object": NO_OBJECT,
        "a tool's name or a list was expected": NO_NAME,
    },
    "mistral named": {
        "called": "[CALL_ID] and what follows it are no part of the name",
        "was not closed": UNCLOSED,
        "is not valid JSON": UNCLOSED,
        "a tool's name or a list was expected": STRICT,
    },
    "qwen3_xml": {
        "was not closed by": UNCLOSED,
        "must begin with <function=name>": STRICT,
        "<parameter=key> was expected": STRICT,
        "<function=name> was expected": STRICT,
    },
}
"""By pair: what our error says, or "called" and "text" where only we, or only vLLM, see a call."""


def make_tokenizer(special_tokens):
    """A byte-level tokenizer without merges, and the markers as special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, additional_special_tokens=list(special_tokens)
    )


@pytest.fixture(scope="module")
def vllm_calls():
    """Read a text with vLLM's parser of a pair: its calls, or the name of what it raised."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.tool_parsers import ToolParserManager

    request = ChatCompletionRequest(messages=[], model="m", tools=TOOLS)

    def reader(pair):
        parser_class = ToolParserManager.get_tool_parser(pair.vllm)
        tokenizer = make_tokenizer(pair.special_tokens)

        def read(text):
            try:
                found = parser_class(tokenizer, request.tools).extract_tool_calls(text, request)
            except (ValueError, TypeError, KeyError) as error:
                return type(error).__name__
            return [
                (call.function.name, load(call.function.arguments)) for call in found.tool_calls
            ]

        return read

    logging.disable(logging.CRITICAL)  # vLLM logs a traceback for each broken call
    yield reader
    logging.disable(logging.NOTSET)


def load(arguments):
    try:
        return json.loads(arguments)
    except json.JSONDecodeError:
        return f"not JSON: {arguments}"


def texts_of(pair):
    """Every output whole; those without text around them cut at every character and misspelt."""
    chance = random.Random(0)
    for output in outputs(pair.format):
        style = output.name.partition(":")[0]
        if output.calls is not None and pair.styles and style not in pair.styles:
            continue
        is_mistral_junk = output.calls is None and pair.format == "mistral"
        if is_mistral_junk and is_of_other_style(output.text, pair.styles):
            continue
        text = output.text
        yield text
        if output.name.endswith("alone"):
            yield from (text[:end] for end in range(len(text)))
            for _ in range(40):
                place = chance.randrange(len(text))
                yield (
                    text[:place]
                    + chance.choice(["", "x", '"', "}", "]", "<", " ", ","])
                    + text[place + chance.randrange(2) :]
                )


def is_of_other_style(text, styles):
    """Tell whether junk after [TOOL_CALLS] is of the shape this tokenizer's models do not write."""
    written = text.removeprefix("[TOOL_CALLS]").lstrip()
    return (written[:1] in ("[", "{", "")) != ("list" in styles)


def describe(parsed):
    """Name our judgement as DIFFERENCES has it."""
    if parsed.status is ParseStatus.MALFORMED:
        return parsed.error
    return "called" if parsed.tools_called else "text"


@pytest.mark.parametrize("name", PAIRS)
def test_calls_are_vllms_or_differ_as_the_table_says(name, vllm_calls):
    pair = PAIRS[name]
    read, parser = vllm_calls(pair), get_tool_parser(pair.format)(tools=TOOLS)
    seen, unexplained, num_called = set(), [], 0
    for text in texts_of(pair):
        parsed = parser.extract_tool_calls(text)
        ours = [(call.name, call.arguments) for call in parsed.tool_calls]
        theirs = read(text)
        if ours == theirs and (parsed.status is ParseStatus.CALL) == bool(ours):
            num_called += bool(ours)
            continue
        keys = [key for key in DIFFERENCES[name] if key in describe(parsed)]
        seen.update(keys)
        if not keys:
            unexplained.append((text, describe(parsed), ours, theirs))
    assert not unexplained, "\n".join(map(str, unexplained[:20]))
    assert seen == DIFFERENCES[name].keys()
    assert num_called > 50


@pytest.mark.parametrize("name", [name for name in PAIRS if name != "mistral named"])
def test_our_calls_agree_with_vllms_on_everything_the_templates_write(name, vllm_calls):
    pair = PAIRS[name]
    read, parser = vllm_calls(pair), get_tool_parser(pair.format)(tools=TOOLS)
    for output in outputs(pair.format):
        style = output.name.partition(":")[0]
        if output.calls and output.name.endswith("alone") and style in (pair.styles or (style,)):
            parsed = parser.extract_tool_calls(output.text)
            assert [(call.name, call.arguments) for call in parsed.tool_calls] == read(output.text)
