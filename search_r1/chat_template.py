"""What a chat template puts around the model's turns, found without rendering history again.

Templates render whole conversations; a trajectory only ever appends. So a short conversation is
rendered in which the model's turn is a mark, and what stands after the mark is what is appended.
That gives the same tokens as rendering everything, unless the template rewrites earlier turns,
which is checked when a template is opened.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from search_r1.observations import EncodedText
from search_r1.parsers.results import defuse, in_order
from search_r1.tokens import HfCodec

HISTORIES = ("refuse", "append")

_MARK = "\u2055\u2055written\u2055\u2055"  # the model's turn; no template knows it
_THOUGHT = "<think>\nthought\n</think>\n\n"
_TAG = re.compile(r"[<\[].+[>\]]")
_REMEMBERED = 2048  # a group of trajectories reads the same passages
_REMEMBERED_CHARS = 4000  # longer texts are seldom read twice, and take memory

Message = Mapping[str, Any]


class ChatTemplateError(ValueError):
    """A chat template cannot be used for rollouts; the message says why and what to do."""


def result_markers(tokenizer: Any, codec: HfCodec, markers: Sequence[str]) -> tuple[str, ...]:
    """Give what no result may bring into a chat: tokens with a meaning, and the format's markers.

    Not all such tokens are special: ``<tool_response>`` of Qwen's tokenizers is not. Words and runs
    of spaces that a tokenizer added mean nothing.
    """
    tags = filter(_TAG.fullmatch, tokenizer.get_added_vocab())
    return in_order({*tags, *codec.special_ids, *markers})


class ChatTemplate:
    """The chat template of a tokenizer, with the tools on offer.

    Args:
        tokenizer: A Hugging Face tokenizer with a chat template.
        codec: The same tokenizer as a codec.
        schemas: Tools as ``{"type": "function", "function": ...}``, handed to the template.
        roles: Roles that will stand between two turns of the model: ``tool``, ``user``.
        history: ``refuse`` a template that rewrites an earlier turn (such as one that drops
            thoughts), or ``append`` all the same: the model then sees its turns as it wrote them,
            in training as in evaluation, though a chat server would show them rewritten.
        options: Further variables of the template, such as ``enable_thinking``.
        markers: Strings with a meaning in the call format, beside the tokenizer's own.

    Raises:
        ChatTemplateError: If there is no template, or it cannot carry the roles, or the model's
            end-of-turn token is not the template's, or history is rewritten and that was not
            accepted.
    """

    def __init__(
        self,
        tokenizer: Any,
        codec: HfCodec,
        schemas: Sequence[Mapping[str, Any]] = (),
        roles: Sequence[str] = ("tool",),
        history: str = "refuse",
        options: Mapping[str, Any] | None = None,
        markers: Sequence[str] = (),
    ) -> None:
        if history not in HISTORIES:
            raise ValueError(f"history is {history!r}; expected one of: {', '.join(HISTORIES)}.")
        if not tokenizer.chat_template:
            raise ChatTemplateError(
                "the tokenizer has no chat template; use prompt_style: raw, or save a "
                "chat_template.jinja beside the model."
            )
        self._tokenizer = tokenizer
        self._codec = codec
        self._schemas = [dict(schema) for schema in schemas]
        self._options = dict(options or {})
        self._special_tokens = in_order(codec.special_ids)
        self._specials = re.compile("|".join(map(re.escape, self._special_tokens)) or r"(?!)")
        self._result_markers = result_markers(tokenizer, codec, markers)
        self._remember = functools.lru_cache(_REMEMBERED)(self._between)
        for role in roles:
            self._check(role, history)

    def render(self, messages: Sequence[Message], *, has_reply: bool, has_tools: bool) -> str:
        """Render messages as text.

        Args:
            messages: Chat messages.
            has_reply: Open the model's turn after the last message.
            has_tools: Hand the tools' schemas to the template.

        Raises:
            ChatTemplateError: If the template refuses the messages.
        """
        try:
            text = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tools=self._schemas if has_tools and self._schemas else None,
                add_generation_prompt=has_reply,
                tokenize=False,
                **self._options,
            )
        except Exception as error:
            roles = ", ".join(message["role"] for message in messages)
            raise ChatTemplateError(
                f"the chat template does not take messages with the roles {roles}: {error}"
            ) from error
        return str(text)

    @property
    def is_without_tools(self) -> bool:
        """True when no schemas are handed to the template."""
        return not self._schemas

    def model_turn(self, text: str) -> str:
        """Cut a rendered turn of the model before the token that ends it; text after it goes too.

        The first token that ends generation counts: a format's own special tokens may come before.
        """
        for token in self._specials.finditer(text):
            if self._codec.special_ids[token[0]] in self._codec.eos_ids:
                return text[: token.start()]
        return text

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Encode the messages and the opening of the model's turn."""
        # A question that holds a special token must not end its own message.
        contents = [message["content"] for message in messages]
        safe = [text and defuse(text, self._special_tokens) for text in contents]
        messages = [{**m, "content": text} for m, text in zip(messages, safe, strict=True)]
        return self._encode(self.render(messages, has_reply=True, has_tools=True))

    def between(self, role: str, contents: tuple[str, ...], is_turn_closed: bool) -> EncodedText:
        """Encode what stands between a turn of the model and its next one.

        Args:
            role: Of the messages in between.
            contents: Their contents, in order.
            is_turn_closed: Whether the model wrote its end-of-turn token, which then is left out.
        """
        is_short = sum(map(len, contents)) <= _REMEMBERED_CHARS
        return (self._remember if is_short else self._between)(role, contents, is_turn_closed)

    def _between(self, role: str, contents: tuple[str, ...], is_turn_closed: bool) -> EncodedText:
        text = self._around(role, contents, _MARK)[1]
        closing = self._closing_token(text)
        text = text[text.index(closing) :]
        ids = self._encode(text)
        if is_turn_closed:
            ids, text = ids[1:], text[len(closing) :]
        return EncodedText(ids, text)

    def _around(self, role: str, contents: Sequence[str], written: str) -> tuple[str, str]:
        """Render messages of a role after a turn of the model; gives the text around the mark."""
        try:
            text = self._render_after(role, contents, written, has_calls=False)
        except ChatTemplateError:
            if role != "tool":
                raise
            # Some templates take a result only where the turn before it made a call.
            text = self._render_after(role, contents, written, has_calls=True)
        before, mark, after = text.partition(_MARK)
        if not mark:
            raise ChatTemplateError(
                f"the chat template drops the content of an assistant message: {text[-200:]!r}"
            )
        return before, after

    def _render_after(
        self, role: str, contents: Sequence[str], written: str, has_calls: bool
    ) -> str:
        """Render the shortest conversation in which messages of a role follow the model's turn."""
        turn: dict[str, Any] = {"role": "assistant", "content": written}
        given = []
        # A correction shows the model how a call is written; a result must not.
        tokens = self._result_markers if role == "tool" else self._special_tokens
        for number, content in enumerate(contents):
            message = {"role": role, "content": defuse(content, tokens)}
            if role == "tool":
                message |= {"name": "tool", "tool_call_id": f"call{number:05d}"}
            given.append(message)
        if has_calls:
            function = {"name": "tool", "arguments": {}}
            turn["tool_calls"] = [
                {"id": message["tool_call_id"], "type": "function", "function": function}
                for message in given
            ]
        question = {"role": "user", "content": "?"}
        return self.render([question, turn, *given], has_reply=True, has_tools=False)

    def _closing_token(self, after: str) -> str:
        """Find the token with which the template ends the model's turn."""
        found = self._specials.search(after)
        if found is None or self._codec.special_ids[found[0]] not in self._codec.eos_ids:
            named = sorted(
                t for t, i in self._codec.special_ids.items() if i in self._codec.eos_ids
            )
            raise ChatTemplateError(
                f"the chat template ends the model's turn with {after[:40]!r}, but generation "
                f"ends at {', '.join(named) or 'no special token'}; set eos_token_id in "
                "generation_config.json to the template's end-of-turn token."
            )
        return found[0]

    def _check(self, role: str, history: str) -> None:
        """Refuse a role that the template cannot carry, or before which it rewrites the turn."""
        self.between(role, ("result",), False)
        opened = self.render([{"role": "user", "content": "?"}], has_reply=True, has_tools=False)
        before = self._around(role, ["result"], _THOUGHT + _MARK)[0]
        is_in_thought = opened.rstrip().endswith("<think>")
        thought = _THOUGHT.removeprefix("<think>") if is_in_thought else _THOUGHT
        is_kept = before.startswith(opened) and before[len(opened) :].strip() == thought.strip()
        if not is_kept and history == "refuse":
            raise ChatTemplateError(
                "the chat template rewrites the model's turn once a message with the role "
                f"{role!r} follows: the model would write {(opened + _THOUGHT)[-80:]!r} and read "
                f"{before[-80:]!r}. To keep its turns as written set search_r1.history: append."
            )

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))
