"""All text the model is trained with.

A prompt is a list of chat messages; raw style encodes their content as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable

Message = dict[str, str]

_INSTRUCTION = (
    "Answer the question. Think first, between <think> and </think>. When you lack knowledge, "
    "search by writing <search>query</search>; what is found comes back between <information> and "
    "</information>. You may search as often as you need. When you know the answer, write it "
    "between <answer> and </answer>, short and without explanation."
)

_TWO_SHOT = """\
Question: who wrote the novel Dracula?
<search>Dracula novel author</search>
<information>Doc 1(Title: Dracula) Dracula is an 1897 novel by Irish author Bram Stoker.</information>
<answer>Bram Stoker</answer>

Question: which river flows through Paris?
<search>river through Paris</search>
<information>Doc 1(Title: Seine) The Seine is a French river that flows through Paris.</information>
<answer>Seine</answer>

Question: {question}
"""  # noqa: E501  a line of the prompt is a line


_HERMES_SYSTEM = "Answer the question. Search first with the tool search(query)."

_HERMES_SHOTS = (
    (
        "who wrote the novel Dracula?",
        "Dracula novel author",
        "Doc 1(Title: Dracula) Dracula is an 1897 novel by Irish author Bram Stoker.",
        "Bram Stoker",
    ),
    (
        "which river flows through Paris?",
        "river through Paris",
        "Doc 1(Title: Seine) The Seine is a French river that flows through Paris.",
        "Seine",
    ),
)


def _search_r1(question: str) -> list[Message]:
    return [{"role": "user", "content": f"{_INSTRUCTION}\nQuestion: {question}\n"}]


def _bare(question: str) -> list[Message]:
    return [{"role": "user", "content": f"Question: {question}\n"}]


def _two_shot(question: str) -> list[Message]:
    return [{"role": "user", "content": _TWO_SHOT.format(question=question)}]


def _two_shot_hermes(question: str) -> list[Message]:
    messages = [{"role": "system", "content": _HERMES_SYSTEM}]
    for shot, query, passage, answer in _HERMES_SHOTS:
        call = {"name": "search", "arguments": {"query": query}}
        written = f"<tool_call>\n{json.dumps(call)}\n</tool_call>"
        messages += [
            {"role": "user", "content": shot},
            {"role": "assistant", "content": written},
            {"role": "tool", "content": passage},
            {"role": "assistant", "content": f"<answer>{answer}</answer>"},
        ]
    return [*messages, {"role": "user", "content": question}]


_PROMPTS: dict[str, Callable[[str], list[Message]]] = {
    "search_r1": _search_r1,
    "bare": _bare,
    "two_shot": _two_shot,
    "two_shot_hermes": _two_shot_hermes,
}


def prompt_names() -> list[str]:
    """List the prompts :func:`build_prompt` knows, sorted."""
    return sorted(_PROMPTS)


def build_prompt(name: str, question: str) -> list[Message]:
    """Put a question into a prompt.

    Args:
        name: ``search_r1`` (instructions only, for models that follow them), ``two_shot`` (two
            worked examples and nothing else, for small models, which copy a pattern better than
            they follow an instruction), ``two_shot_hermes`` (the same examples as a chat in
            which the model makes hermes-style tool calls), or ``bare`` (the question alone, for
            models that a cold start has taught the form).
        question: The question; white space is collapsed, and a missing question mark is added.

    Returns:
        Chat messages: a single user message for the raw prompts, a chat for the last.

    Raises:
        ValueError: On an unknown name or an empty question.
    """
    if name not in _PROMPTS:
        raise ValueError(f"unknown prompt {name!r}; known are {', '.join(prompt_names())}.")
    return _PROMPTS[name](finish_question(question))


def finish_question(question: str) -> str:
    """Collapse white space and add a missing question mark, as every prompt has it.

    Raises:
        ValueError: If the question is empty.
    """
    question = " ".join(question.split())
    if not question:
        raise ValueError("the question is empty; drop the row or fix its source.")
    return question if question.endswith(("?", ".", "!")) else f"{question}?"
