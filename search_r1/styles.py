"""How a conversation becomes token ids: raw completion text, or the model's chat template.

A style writes what stands before the model's first turn and what stands between two of its turns.
Neither ever touches a token that is already there, so a trajectory stays token in, token out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from search_r1.chat_template import ChatTemplate
from search_r1.observations import EncodedText
from search_r1.parsers.base import ToolParser
from search_r1.parsers.results import defuse, in_order
from search_r1.tokens import Codec

Message = Mapping[str, Any]


class Style(Protocol):
    """The text around the model's own."""

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Encode everything before the model's first turn."""
        ...

    def results(self, texts: Sequence[str], is_turn_closed: bool) -> EncodedText:
        """Encode the results of a turn's calls, up to where the model goes on.

        Args:
            texts: One text per call, in order.
            is_turn_closed: Whether the model's turn ended with its own end-of-turn token.
        """
        ...

    def correction(self, message: str, is_turn_closed: bool) -> EncodedText:
        """Encode what a turn without a valid action is told."""
        ...


class RawStyle:
    """Plain text: results stand between the parser's own tags, as Search-R1 writes them.

    Args:
        codec: The policy's tokenizer.
        parser: The call format.
        template: Chat template for the prompt; its messages' contents as they are when None.
        opening_ids: What a prompt without a template begins with, for models trained so.
    """

    def __init__(
        self,
        codec: Codec,
        parser: ToolParser,
        template: ChatTemplate | None = None,
        opening_ids: Sequence[int] = (),
    ) -> None:
        self._opening_ids = list(opening_ids)
        self._codec = codec
        self._parser = parser
        self._template = template
        self._special_tokens = in_order(codec.special_ids)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Encode the messages by the template, or their contents one after the other."""
        if self._template is not None:
            return self._template.prompt_ids(messages)
        text = "".join(message["content"] for message in messages)
        return self._opening_ids + self._codec.encode(defuse(text, self._special_tokens))

    def results(self, texts: Sequence[str], is_turn_closed: bool) -> EncodedText:
        """Encode the results between the parser's tags; none can bring in a special token.

        The codec would spell one out, but a server of the model reads text, where it is a token.
        """
        texts = [defuse(text, self._special_tokens) for text in texts]
        return self._encode(self._parser.format_results(texts))

    def correction(self, message: str, is_turn_closed: bool) -> EncodedText:
        """Encode the parser's error text."""
        return self._encode(self._parser.format_error(message))

    def _encode(self, text: str) -> EncodedText:
        return EncodedText(self._codec.encode(text), text)


class ChatStyle:
    """Chat messages: results are ``role: tool`` messages, corrections are ``role: user``.

    Args:
        template: The model's chat template, cut into what stands between turns.
        parser: The call format; it words the corrections.
    """

    def __init__(self, template: ChatTemplate, parser: ToolParser) -> None:
        self._template = template
        self._parser = parser

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Encode the messages with the tools' schemas and the opening of the model's turn."""
        return self._template.prompt_ids(messages)

    def results(self, texts: Sequence[str], is_turn_closed: bool) -> EncodedText:
        """Encode one tool message per result."""
        return self._template.between("tool", tuple(texts), is_turn_closed)

    def correction(self, message: str, is_turn_closed: bool) -> EncodedText:
        """Encode a user message with the parser's error text."""
        return self._template.between("user", (self._parser.explain(message),), is_turn_closed)
