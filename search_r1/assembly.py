"""Put a loop together from names and options: parser, tools, style, tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search_r1.chat_template import HISTORIES, ChatTemplate
from search_r1.loop import LoopConfig, SearchLoop
from search_r1.parsers import get_tool_parser, load_tool_parser_plugin
from search_r1.parsers.base import ToolParser
from search_r1.policies import Policy
from search_r1.prompts import prompt_names
from search_r1.styles import ChatStyle, RawStyle, Style
from search_r1.tokens import HfCodec
from search_r1.tools.config import build_toolbox
from search_r1.tools.search import Searcher
from search_r1.tools.toolbox import ToolBox

_STYLES = ("raw", "chat")


@dataclass(frozen=True, slots=True)
class FormatConfig:
    """How model and tools speak with each other."""

    prompt: str | None = None
    """Prompt to put the question into, see ``search_r1.prompts``; the row's own when None."""
    prompt_style: str = "raw"
    """``raw`` encodes the prompt's text as it is; ``chat`` uses the model's chat template."""
    result_style: str = "raw"
    """``raw`` writes results between the parser's tags; ``chat`` as ``role: tool`` messages."""
    history: str = "refuse"
    """What to do with a chat template that rewrites earlier turns: ``refuse`` or ``append``."""
    template_options: Mapping[str, Any] = field(default_factory=dict)
    """Further variables of the chat template, such as ``enable_thinking: false``."""
    parser: str = "search_tags"
    """Name of the tool parser; ``vllm:NAME`` and ``verl:NAME`` take theirs."""
    parser_options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the tool parser."""
    parser_plugin: str | None = None
    """Python file that registers parsers of your own; loaded first."""
    tools: Mapping[str, Any] = field(default_factory=dict)
    """Tools by name, see docs/tool-calling.md; the retriever's ``search`` alone when empty."""
    top_k: int = 3
    """Passages per search, where the tool's own entry does not say."""

    def __post_init__(self) -> None:
        for name, known in (
            ("prompt_style", _STYLES),
            ("result_style", _STYLES),
            ("history", HISTORIES),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"search_r1.{name} is {getattr(self, name)!r}; it must be one of "
                    f"{', '.join(map(repr, known))}."
                )
        if self.prompt is not None and self.prompt not in prompt_names():
            raise ValueError(
                f"search_r1.prompt is {self.prompt!r}; it must be null or one of "
                f"{', '.join(map(repr, prompt_names()))}."
            )
        for name, style, is_set in (
            ("template_options", "prompt_style", bool(self.template_options)),
            ("history", "result_style", self.history != "refuse"),
        ):
            if is_set and getattr(self, style) != "chat":
                raise ValueError(
                    f"search_r1.{name} is {getattr(self, name)!r}, which only the chat template "
                    f"uses; set search_r1.{style} to 'chat', or leave it out."
                )
        if self.result_style == "chat" and self.prompt_style != "chat":
            raise ValueError(
                "search_r1.result_style is 'chat', but prompt_style is 'raw'; a conversation that "
                "does not begin with the chat template cannot go on with it: set both to 'chat'."
            )


def form_of(section: Mapping[str, Any]) -> FormatConfig:
    """Read the keys of a config's ``search_r1`` section that say how model and tools speak."""
    return FormatConfig(**{key: section[key] for key in FormatConfig.__slots__ if key in section})


@dataclass(frozen=True, slots=True)
class LoopParts:
    """What all trajectories of one process share; all but the policy."""

    codec: HfCodec
    parser: ToolParser
    tools: ToolBox
    style: Style
    template: ChatTemplate | None
    config: LoopConfig
    top_k: int

    def loop(self, policy: Policy) -> SearchLoop:
        """Make the loop for one policy."""
        return SearchLoop(policy, self.codec, self.parser, self.tools, self.config, self.style)


def assemble(
    tokenizer: Any,
    eos_ids: Sequence[int],
    form: FormatConfig,
    config: LoopConfig,
    searcher: Searcher,
) -> LoopParts:
    """Build everything a loop needs but its policy.

    Args:
        tokenizer: The policy's Hugging Face tokenizer.
        eos_ids: Ids that end the model's turns; the tokenizer's own when empty.
        form: How model and tools speak with each other.
        config: Limits of a trajectory.
        searcher: Answers the queries of ``search`` tools.

    Raises:
        ValueError: If a name is unknown, an option is wrong, or the chat template cannot be used.
    """
    codec = HfCodec(tokenizer, eos_ids)
    if form.parser_plugin:
        load_tool_parser_plugin(form.parser_plugin)
    parser_class = get_tool_parser(form.parser)
    tools = build_toolbox({"tools": _tools(form)}, searcher)
    try:
        parser = parser_class(tokenizer, tools.schemas, **form.parser_options)
    except TypeError as error:
        raise ValueError(
            f"parser_options do not fit the parser {form.parser!r}: {error}"
        ) from error
    template = _open_template(tokenizer, codec, parser, tools, form, config)
    style: Style
    if form.result_style == "chat" and template is not None:
        style = ChatStyle(template, parser)
    else:
        _check_raw_results(parser, codec, form)
        style = RawStyle(codec, parser, template, codec.opening_ids)
    return LoopParts(codec, parser, tools, style, template, config, form.top_k)


def _tools(form: FormatConfig) -> dict[str, Any]:
    tools = {name: dict(options) for name, options in form.tools.items()}
    tools = tools or {"search": {"type": "search"}}
    for options in tools.values():
        if options.get("type") == "search":
            options.setdefault("top_k", form.top_k)
    return tools


def _check_raw_results(parser: ToolParser, codec: HfCodec, form: FormatConfig) -> None:
    """Refuse results between tokens that raw style, where all is text, would spell out."""
    written = parser.format_results(["x"])
    spelled = [token for token in codec.special_ids if token in written]
    if spelled:
        raise ValueError(
            f"search_r1.result_style is 'raw', but the parser {form.parser!r} writes results with "
            f"{spelled[0]!r}, a special token of this tokenizer, which raw style spells out as "
            "characters; set prompt_style and result_style to 'chat'."
        )


def _open_template(
    tokenizer: Any,
    codec: HfCodec,
    parser: ToolParser,
    tools: ToolBox,
    form: FormatConfig,
    config: LoopConfig,
) -> ChatTemplate | None:
    """Open the chat template if the prompt uses it, checking the roles that results will have."""
    if form.prompt_style == "raw":
        return None
    roles = []
    if form.result_style == "chat":
        roles = ["tool", "user"] if config.max_nudges else ["tool"]
    # Raw results come with a prompt that describes the calls itself, as Search-R1's does.
    schemas = tools.schemas if form.result_style == "chat" else []
    return ChatTemplate(
        tokenizer, codec, schemas, roles, form.history, form.template_options, parser.markers
    )
