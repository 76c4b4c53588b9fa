"""Fit model, chat template and tool parser together before a server is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from search_r1.assembly import FormatConfig, assemble
from search_r1.chat_template import result_markers
from search_r1.eos_ids import eos_ids_of
from search_r1.errors import LaunchError, UsageError
from search_r1.format_check import check_calls, check_format
from search_r1.loop import LoopConfig
from search_r1.parsers import ToolParser, get_tool_parser, load_tool_parser_plugin
from search_r1.parsers.formats.search_tags import SearchTagsParser
from search_r1.parsers.results import defuse, in_order
from search_r1.prompts import build_prompt, prompt_names
from search_r1.serving.served import ServedParser
from search_r1.tokens import HfCodec
from search_r1.types import Passage

_TEMPLATES = Path(__file__).parents[1] / "chat_templates"
SEARCH_TAGS_PROMPT = "two_shot"

_QUESTION, _TURN, _NEXT = "\u2055q.", "\u2055t.", "\u2055n."  # marks no template knows


@dataclass(frozen=True, slots=True)
class Template:
    """The chat template of a server."""

    source: str
    """Its text."""
    options: dict[str, Any] = field(default_factory=dict)
    """Variables of the template."""


def load_parser(served: ServedParser) -> None:
    """Import the parser's plugin and check its name.

    Raises:
        UsageError: If the plugin does not import, or there is no such parser.
    """
    try:
        if served.plugin:
            load_tool_parser_plugin(served.plugin)
        get_tool_parser(served.name)
    except ValueError as error:
        raise UsageError(str(error)) from error


def open_tokenizer(model: str) -> Any:
    """Load a model's tokenizer from a folder or a hub.

    Raises:
        LaunchError: If there is none.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise LaunchError(
            f"the tokenizer of {model!r} cannot be loaded: {reason} "
            "Give --model the folder of a model, or its name on a hub that this machine reaches."
        ) from error


def choose_template(
    tokenizer: Any,
    served: ServedParser,
    path: Path | None,
    prompt: str | None,
    prompt_style: str,
    template_options: Mapping[str, Any] = MappingProxyType({}),
) -> Template:
    """Find a chat template that shows the model its tools in the format it is parsed in.

    Args:
        tokenizer: The model's; its chat template becomes the one that is served.
        served: The parser.
        path: A template of the user's; the model's own when None, or ours for search tags.
        prompt: Name of the prompt the model was trained with; None for search tags means
            ``two_shot``, for other formats that the client's messages are all there is.
        prompt_style: How a prompt around search tags was encoded, ``raw`` or ``chat``.
        template_options: Further variables of the template.

    Raises:
        LaunchError: If the template does not carry the tools, or shows another format.
    """
    if path is not None:
        try:
            tokenizer.chat_template = path.read_text(encoding="utf-8")
        except OSError as error:
            raise UsageError(f"the chat template {path} cannot be read: {error}") from error
    try:
        parser = get_tool_parser(served.name)(tokenizer, **served.options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the parser {served.name} cannot be made: {error}") from error
    has_tags = prompt is None or _is_around_tags(prompt) or prompt == "bare"
    if path is None and isinstance(parser, SearchTagsParser) and has_tags:
        return _search_tags_template(tokenizer, parser, prompt or SEARCH_TAGS_PROMPT, prompt_style)
    if prompt is not None and _is_around_tags(prompt):
        others = [name for name in prompt_names() if not _is_around_tags(name)]
        raise UsageError(
            f"the prompt {prompt} is text around search tags, for the parser search_tags without "
            f"--chat-template; here --prompt is one of: {', '.join(others)}."
        )
    template = _chat_template(tokenizer, parser, prompt, template_options)
    _check_served_format(tokenizer, served, template, prompt)
    return template


def _is_around_tags(prompt: str) -> bool:
    return SearchTagsParser().syntax.partition("query")[0] in str(build_prompt(prompt, "?"))


def _read_template(name: str) -> str:
    return "".join(
        (_TEMPLATES / file).read_text(encoding="utf-8") for file in ("defuse.jinja", name)
    )


def _chat_template(
    tokenizer: Any, parser: ToolParser, prompt: str | None, options: Mapping[str, Any]
) -> Template:
    """Put ours, which adds the prompt and breaks up what injects, in front of the model's own."""
    if not tokenizer.chat_template:
        raise LaunchError("the model has no chat template; give one with --chat-template FILE.")
    try:
        own = tokenizer.get_chat_template(tools=[])  # of several, the one for tools
        codec = HfCodec(tokenizer)
    except ValueError as error:
        raise LaunchError(str(error)) from error
    tokenizer.chat_template = _read_template("chat_prompt.jinja") + own
    variables = {
        "messages": build_prompt(prompt, _QUESTION) if prompt else [],
        "mark": _QUESTION,
        "special_tokens": in_order(codec.special_ids),
        "result_markers": result_markers(tokenizer, codec, parser.markers),
    }
    return Template(tokenizer.chat_template, {**options, "chat_prompt": variables})


def _check_served_format(
    tokenizer: Any, served: ServedParser, template: Template, prompt: str | None
) -> None:
    form = FormatConfig(
        prompt_style="chat",
        result_style="chat",
        history="append",
        template_options=template.options,
        parser=served.name,
        parser_options=served.options,
    )
    try:
        eos_ids = eos_ids_of(tokenizer.name_or_path, tokenizer)  # as in training
        parts = assemble(tokenizer, eos_ids, form, LoopConfig(), _NoSearcher())
        if prompt == "bare":  # it shows nothing; the model was taught the form
            check_calls(parts)
        else:
            check_format(parts, [{"role": "user", "content": "?"}])
    except ValueError as error:
        hint = (
            f"with the prompt {prompt}, where calls are written in the hermes format"
            if prompt
            else "the prompt that the model was trained with is given with --prompt, a template "
            "of your own with --chat-template FILE"
        )
        raise LaunchError(f"{error} (Checked before the server is started; {hint}.)") from error


def _search_tags_template(
    tokenizer: Any, parser: SearchTagsParser, prompt: str, prompt_style: str
) -> Template:
    plain = SearchTagsParser()
    if (parser.stop, parser.forbidden) != (plain.stop, plain.forbidden):
        raise UsageError(
            f"the shipped chat template writes {plain.syntax}, but the parser reads "
            f"{parser.syntax}; give a template with your tags with --chat-template FILE."
        )
    try:
        special_tokens = in_order(HfCodec(tokenizer).special_ids)
    except ValueError as error:
        raise LaunchError(str(error)) from error
    written = defuse(build_prompt(prompt, _QUESTION)[0]["content"], special_tokens)
    head, _, tail = written.partition(_QUESTION)
    before, after, between = "", "", "\n\n"
    if prompt_style == "chat":
        before, after, between = _around_turns(tokenizer)
    label = head.rpartition("\n")[2]  # later questions come without instruction and examples
    variables = {
        "first": before + head,
        "next": between + label,
        "after": tail + after,
        "special_tokens": special_tokens,
        "result_markers": (*special_tokens, *in_order(parser.markers)),
    }
    return Template(_read_template("search_tags.jinja"), {"search_tags": variables})


def _around_turns(tokenizer: Any) -> tuple[str, str, str]:
    """Give what the model's own template puts before a question, after it, and between turns."""
    messages = [
        {"role": "user", "content": _QUESTION},
        {"role": "assistant", "content": _TURN},
        {"role": "user", "content": _NEXT},
    ]
    if not tokenizer.chat_template:
        raise LaunchError("the model has no chat template; use --prompt-style raw.")
    whole = _render(tokenizer, messages)
    before, _, after = _render(tokenizer, messages[:1]).partition(_QUESTION)
    return before, after, whole.partition(_TURN)[2].partition(_NEXT)[0]


def _render(tokenizer: Any, messages: Sequence[dict[str, str]]) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


class _NoSearcher:
    """Stands in for a retriever: a server of the model calls no tool itself."""

    async def search(self, queries: Sequence[str], top_k: int) -> list[list[Passage]]:
        raise NotImplementedError
