"""A server with OpenAI's completions API as a policy of the loop: text in, text out.

For models that cannot run in this process. The server is sent the text so far and answers with
text, so the ids of a trajectory are those that a tokenizer makes of it, and not the sampled ones;
nothing is trained on such a trajectory. Logprobs are 0.0, because nobody told them. Tokens are
counted as the server's ``usage`` reports them, in ``metadata["usage"]``.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from search_r1.tokens import Codec
from search_r1.types import FinishReason, Generation, digest

KEY_VARIABLE = "SEARCH_R1_API_KEY"
"""Environment variable with the server's key, the only place it is taken from."""

_TIMEOUT_S = 600.0  # a long turn on a busy server; the connection itself is given less
_CONNECT_S = 10.0
_FINISH = {"length": FinishReason.LENGTH, "stop": FinishReason.STOP}


class ServerUnavailable(Exception):  # noqa: N818  as the retriever's
    """The server did not answer, or answered that it cannot now; it may later."""


class ServerRefused(Exception):  # noqa: N818
    """The server refused what it was asked, or is no such server; asking again would not help."""


class CompletionsServer:
    """Connections to one server, shared by all trajectories of an event loop.

    Args:
        url: Address up to and with ``/v1``.
        model: Name under which the server knows the model.

    Raises:
        ValueError: If the address is none, or carries a key.
    """

    def __init__(self, url: str, model: str) -> None:
        self.url, self.model = url.rstrip("/"), model
        parts = urlsplit(url)
        if parts.username or parts.password or parts.query:
            raise ValueError(
                f"the address of {parts.hostname} holds a user, a password or a query; give the "
                f"plain http://HOST:PORT/v1, and a key in the environment variable {KEY_VARIABLE}."
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address; expected http://HOST:PORT/v1.")
        key = os.environ.get(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(_TIMEOUT_S, connect=_CONNECT_S)
        limits = httpx.Limits(max_connections=None)
        self._http = httpx.AsyncClient(
            headers=headers, timeout=timeout, limits=limits, trust_env=False
        )

    async def check(self) -> None:
        """Ask whether it serves the model; a server that lists none is believed.

        Raises:
            ServerUnavailable: If it does not answer.
            ServerRefused: If it refuses the key, or serves other models.
        """
        reply = await self._ask("GET", "/models")
        if reply.status_code in (404, 405):
            return
        listed = self._read(reply).get("data")
        names = [str(each.get("id")) for each in listed or [] if isinstance(each, Mapping)]
        if names and self.model not in names:
            raise ServerRefused(
                f"{self.url} serves no model {self.model!r}; it has {', '.join(names[:10])}"
            )

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for one completion; gives the reply with its one choice.

        Raises:
            ServerUnavailable: If another attempt may succeed.
            ServerRefused: If it would not.
        """
        reply = await self._ask("POST", "/completions", {"model": self.model, **body})
        answered = self._read(reply)
        choices = answered.get("choices")
        if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
            raise ServerRefused(f"{self.url} answers without a choice: {_excerpt(reply)}")
        if not isinstance(choices[0].get("text"), str):
            raise ServerRefused(f"{self.url} answers without a text: {_excerpt(reply)}")
        return answered

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        try:
            return await self._http.request(method, self.url + path, json=body)
        except httpx.TransportError as error:
            raise ServerUnavailable(f"{type(error).__name__} {error}".strip()) from error

    def _read(self, reply: httpx.Response) -> dict[str, Any]:
        status = reply.status_code
        if status in (408, 429) or status >= 500:
            raise ServerUnavailable(f"status {status}: {_excerpt(reply)}")
        if status in (401, 403):
            raise ServerRefused(
                f"{self.url} refuses the key (status {status}); set {KEY_VARIABLE} to the one it "
                "knows"
            )
        if status != 200:
            raise ServerRefused(f"{self.url} refuses (status {status}): {_excerpt(reply)}")
        try:
            answered = reply.json()
        except ValueError:
            answered = None
        if not isinstance(answered, dict):
            raise ServerRefused(
                f"{self.url} answers something else than JSON: {_excerpt(reply)}; give the address "
                "up to and with /v1"
            )
        return answered


@dataclass(slots=True)
class _Usage:
    """Tokens of one trajectory as the server counts them."""

    prompt_tokens: int = 0
    """Of the last request: everything the model had before its eyes."""
    completion_tokens: int = 0
    """Of all requests."""


class CompletionsPolicy:
    """Continues text on a server; :meth:`at` gives one for each trajectory.

    Args:
        server: Who is asked.
        codec: Turns ids into text and back.
        opening: What the tokenizer begins every text with; the server adds it by itself.
        temperature: 0 is greedy.
        seed: Seeds the first turn; the next ones follow.
    """

    def __init__(
        self,
        server: CompletionsServer,
        codec: Codec,
        opening: str = "",
        temperature: float = 1.0,
        seed: int = 0,
    ) -> None:
        self._server, self._codec, self._opening = server, codec, opening
        self._temperature, self._seed = temperature, seed
        self._usage = _Usage()

    def at(self, temperature: float, seed: int) -> CompletionsPolicy:
        """Give a policy on the same server for one trajectory."""
        other = copy.copy(self)
        other._temperature, other._seed, other._usage = temperature, seed, _Usage()
        return other

    async def generate(
        self,
        context_ids: list[int],
        *,
        max_tokens: int,
        stop: Sequence[str],
        stop_token_ids: Sequence[int] = (),
    ) -> Generation:
        """Ask for one turn; the ids are what the codec makes of the text.

        Raises:
            ServerUnavailable: If another attempt may succeed.
            ServerRefused: If it would not.
        """
        context = self._codec.decode(context_ids)
        stops = [*stop, *(self._codec.decode([token_id]) for token_id in stop_token_ids)]
        answered = await self._server.complete(
            {
                "prompt": context.removeprefix(self._opening),
                "max_tokens": max_tokens,
                "temperature": self._temperature,
                "seed": self._seed,
                "stop": stops,
            }
        )
        self._seed += 1
        choice = answered["choices"][0]
        finish = _FINISH.get(choice.get("finish_reason"), FinishReason.ABORT)
        ending = stopped_by(choice, context, stops) if finish is FinishReason.STOP else ""
        ids = self._codec.encode(choice["text"] + ending)
        if finish is FinishReason.STOP and not ending:
            finish = FinishReason.EOS
            ids.append(self._codec.eos_ids[0])
        if len(ids) > max_tokens:  # the server counts in other tokens
            ids, finish = ids[:max_tokens], FinishReason.LENGTH
        return Generation(
            ids,
            [0.0] * len(ids),
            context_digest=digest(context_ids),
            metadata={"usage": self._count(answered)},
            finish=finish,
        )

    def _count(self, answered: Mapping[str, Any]) -> dict[str, int]:
        usage = answered.get("usage")
        if isinstance(usage, Mapping):
            self._usage.prompt_tokens = int(usage.get("prompt_tokens") or 0)
            self._usage.completion_tokens += int(usage.get("completion_tokens") or 0)
        return {
            "prompt_tokens": self._usage.prompt_tokens,
            "completion_tokens": self._usage.completion_tokens,
        }


def stopped_by(choice: Mapping[str, Any], context: str, stops: Sequence[str]) -> str:
    """Tell which stop string ended a completion; empty when the model ended its text.

    Servers leave the string out of the text. vLLM and SGLang say which it was; for others it is the
    end of the tag that was opened last and not closed, else the line break, where that is one.

    Args:
        choice: Of the reply; it ended with ``stop``.
        context: What was sent.
        stops: The strings.
    """
    for key in ("stop_reason", "matched_stop"):
        if key in choice:
            told = choice[key]
            return told if isinstance(told, str) and told in stops else ""
    text = context + str(choice["text"])
    opened = {stop: text.rfind(f"<{stop[2:]}") for stop in stops if stop.startswith("</")}
    unclosed = [stop for stop, at in opened.items() if at > text.rfind(stop)]
    line_break = "\n" if "\n" in stops else ""
    return max(unclosed, key=opened.__getitem__, default=line_break)


def _excerpt(reply: httpx.Response) -> str:
    """Show the start of a reply in an error message, a line."""
    try:
        body = reply.json()
        told = body.get("error", body) if isinstance(body, dict) else body
        text = told if isinstance(told, str) else json.dumps(told)
    except ValueError:
        text = reply.text
    return " ".join(text.split())[:300] or "(nothing)"
