"""The request of an HTTP tool as its YAML describes it, and as one call fills it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import httpx

from search_r1.errors import ToolError
from search_r1.tools.redaction import Secrets, check_header, is_header_value
from search_r1.tools.templates import Template, fill_tree, parse_tree, templates_of, to_text


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """The request of an HTTP tool. Strings may hold ``{argument}`` and ``${VARIABLE}``."""

    url: str
    """Address; arguments are escaped, and may stand anywhere after the host."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """HTTP method."""
    query: dict[str, Any] = field(default_factory=dict)
    """Query parameters; one that is an argument the model left out is left out."""
    headers: dict[str, str] = field(default_factory=dict)
    """Request headers."""
    body: Any = None
    """JSON to send. A string that is one ``{argument}`` becomes the argument with its type."""
    result_path: str | None = None
    """Path into a JSON reply (``items.*.title``) to what the model reads; null: the whole text."""
    attempts: int = 3
    """Attempts per call while the connection fails or the status is 429, 502, 503 or 504."""
    failing_status: tuple[int, ...] = (401, 403, 407, 408, 429)
    """Statuses 4xx that are our fault; the model is told of all others."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"url is {self.url!r}; expected http://HOST/... or https://HOST/...")
        if "{" in parts.netloc.replace("${", ""):
            raise ValueError(
                f"url is {self.url!r}; the model must not choose the host. Write the host out."
            )
        if self.attempts < 1:
            raise ValueError(f"attempts is {self.attempts}; expected 1 or more.")


class RequestTemplate:
    """A request with places for the arguments of a call.

    Args:
        tool: Name of the tool, for errors.
        request: The request as described.
        parameters: JSON schema of the tool's arguments.

    Raises:
        ValueError: If a template needs an argument that the model need not give, an environment
            variable is not set, or a header cannot be sent.
    """

    def __init__(self, tool: str, request: HttpRequest, parameters: Mapping[str, Any]) -> None:
        self._method = request.method
        parts = {name: getattr(request, name) for name in ("url", "query", "headers", "body")}
        self._parts = {name: parse_tree(part, f"{tool}.{name}") for name, part in parts.items()}
        found = {name: templates_of(part) for name, part in self._parts.items()}
        self.secrets = Secrets(
            secret
            for templates in found.values()
            for template in templates
            for secret in template.secrets
        )
        for name, templates in found.items():
            for template in templates:
                _check_arguments(tool, template, parameters, is_url=name == "url")
        for name, template in self._parts["headers"].items():
            filled = template.fill(dict.fromkeys(template.arguments, "x"))
            check_header(name, filled, f"tool {tool!r}")

    def fill(self, arguments: Mapping[str, Any]) -> httpx.Request:
        """Put the arguments of a call in.

        Raises:
            ToolError: If a value cannot stand where it belongs.
        """
        url: Template = self._parts["url"]
        query = self._fill_texts("query", arguments)
        headers = self._fill_texts("headers", arguments)
        for key, value in headers.items():
            if not isinstance(value, str) or not is_header_value(value):
                raise ToolError(f"The value for {key} must be printable ASCII on one line.")
        try:
            address = httpx.URL(url.fill(arguments, _escape)).copy_merge_params(query)
            body = fill_tree(self._parts["body"], arguments)
            return httpx.Request(self._method, address, headers=headers, json=body)
        except (httpx.InvalidURL, ValueError) as error:  # too long, or not valid Unicode
            reason = self.secrets.redact(str(error))
            raise ToolError(f"An argument cannot be sent: {reason}.") from error

    def _fill_texts(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        filled = fill_tree(self._parts[name], arguments)
        return {
            key: [to_text(item) for item in value] if isinstance(value, list) else to_text(value)
            for key, value in filled.items()
            if value is not None
        }


def _check_arguments(
    tool: str, template: Template, parameters: Mapping[str, Any], is_url: bool
) -> None:
    known, required = parameters.get("properties", {}), parameters.get("required", ())
    for name in template.arguments:
        if name not in known:
            raise ValueError(
                f"tool {tool!r} uses {{{name}}}, but its parameters are "
                f"{', '.join(known) or 'none'}; declare it or correct the template."
            )
        if name not in required and (is_url or template.lone_argument is None):
            raise ValueError(
                f"tool {tool!r} uses {{{name}}} inside a longer text, so it must always be there; "
                "add it to `required`."
            )


def _escape(text: str) -> str:
    """Escape an argument for its place in a URL."""
    if text in (".", ".."):
        raise ToolError(f"The value {text!r} cannot stand in an address.")
    return quote(text, safe="")
