"""How to ask an online search engine: a YAML file, or a few lines over a shipped preset.

    preset: brave
    headers: {X-Subscription-Token: "${BRAVE_API_KEY}"}
    requests_per_s: 1

``${NAME}`` in a header or a parameter is read from the environment, so that keys stay out of the
file. No message or log line shows what stands there, or what a header or a longer parameter has.
"""

import os
import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from retriever.errors import OnlineConfigError
from retriever.indexes.online.redaction import redact

_SECRET = re.compile(r"\$\{(\w+)\}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_HEADER = re.compile(r"[^\x20-\x7e]|^ | $")
_PRIVATE = ("headers", "parameters")
_SHORTEST_SECRET = 6  # of what the file itself says; shorter ones are words such as "en"

# Engines whose JSON is known. The key is for the user to give.
PRESETS: dict[str, dict[str, Any]] = {
    "serpapi": {  # needs parameters.api_key
        "url": "https://serpapi.com/search.json",
        "parameters": {"engine": "google"},
        "count_parameter": "num",
        "results": "organic_results",
        "present": "search_information",
        "fields": {"id": "link", "title": "title", "text": "snippet"},
    },
    "google": {  # Custom Search JSON API; needs parameters.key and parameters.cx
        "url": "https://www.googleapis.com/customsearch/v1",
        "count_parameter": "num",
        "results": "items",
        "present": "searchInformation",
        "fields": {"id": "link", "title": "title", "text": "snippet"},
    },
    "brave": {  # needs headers.X-Subscription-Token
        "url": "https://api.search.brave.com/res/v1/web/search",
        "parameters": {"text_decorations": "false"},
        "count_parameter": "count",
        "results": "web.results",
        "present": "query",
        "fields": {"id": "url", "title": "title", "text": "description"},
    },
}


@dataclass(frozen=True, slots=True)
class OnlineConfig:
    """One engine, and how much it may be asked."""

    url: str
    """Where requests go."""
    results: str
    """Path to the list of results in the reply, such as web.results."""
    fields: dict[str, str]
    """Paths in one result to ``id`` (usually its link), ``title`` and ``text``."""
    present: str = ""
    """Path that every good reply has: a reply with it and without ``results`` found nothing.
    Empty: ``results`` must always be there."""
    method: str = "GET"
    """GET sends parameters in the url, POST as a JSON object."""
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    """Sent with every request."""
    parameters: dict[str, Any] = field(default_factory=dict, repr=False)
    """Sent with every request, beside query and count."""
    query_parameter: str = "q"
    """Name of the parameter with the query."""
    count_parameter: str | None = None
    """Name of the parameter with the number of results wanted; null for an engine without."""
    max_count: int = 10
    """Results asked for with every query, whatever ``top_k`` is: the most that a query has."""
    requests_per_s: float = 5.0
    """Requests begun per second, at most."""
    max_concurrent: int = 8
    """Requests under way at once."""
    timeout_s: float = 10.0
    """Seconds the engine may be silent."""
    max_attempts: int = 3
    """Attempts per query, the first included, when the engine is busy or cannot be reached."""
    cache_queries: int = 10_000
    """Queries whose results are kept; 0 keeps none."""
    cache_ttl_s: float = 3600.0
    """Seconds results are kept."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What was read from the environment; not a key of the file."""

    def __post_init__(self) -> None:
        """Check every value."""
        if not self.url.startswith(("http://", "https://")):
            raise OnlineConfigError(f"url is {self.place!r}; expected http://... or https://...")
        if self.method not in ("GET", "POST"):
            raise OnlineConfigError(f"method is {self.method!r}; expected GET or POST.")
        if set(self.fields) != {"id", "title", "text"}:
            raise OnlineConfigError(
                f"fields names {', '.join(sorted(self.fields)) or 'nothing'}; "
                "expected paths for id, title and text."
            )
        for name in ("requests_per_s", "timeout_s", "cache_ttl_s"):
            if not getattr(self, name) > 0:
                raise OnlineConfigError(f"{name} is {getattr(self, name)}; expected more than 0.")
        for name, least in (("max_count", 1), ("max_concurrent", 1), ("max_attempts", 1)):
            if getattr(self, name) < least:
                raise OnlineConfigError(f"{name} is {getattr(self, name)}; expected 1 or more.")
        if self.cache_queries < 0:
            raise OnlineConfigError(f"cache_queries is {self.cache_queries}; expected 0 or more.")
        for name, value in self.headers.items():
            _check_header(name, value)

    @property
    def place(self) -> str:
        """The url for messages: without a user, and without parameters that stand in it."""
        before, slashes, rest = self.url.partition("?")[0].rpartition("//")
        host, slash, path = rest.partition("/")
        return before + slashes + host.rpartition("@")[2] + slash + path

    def redact(self, text: str) -> str:
        """Take keys out of a text, whole: do it before the text is cut."""
        values = [value for value in self.parameters.values() if isinstance(value, str)]
        for header in self.headers.values():
            values += [header, *header.split()]
        literal = [value for value in values if len(value) >= _SHORTEST_SECRET]
        return redact(text, [*self.secrets, *literal])


def _check_header(name: str, value: str) -> None:
    """Refuse a header that HTTP has no room for, without showing its value."""
    if not _HEADER_NAME.fullmatch(name):
        raise OnlineConfigError(f"headers has the name {name!r}; expected letters, digits and -.")
    if wrong := _NOT_IN_HEADER.search(value):
        raise OnlineConfigError(
            f"headers.{name} has {wrong[0]!r} as character {wrong.start() + 1} of {len(value)}; "
            "expected printable ASCII without spaces around it. Correct the value, or the variable "
            "that it names: a key read from a file often ends with a new line."
        )


def read_online_config(path: Path) -> OnlineConfig:
    """Read the description of an engine, with secrets filled in.

    Raises:
        OnlineConfigError: If the file cannot be read, or a key or value in it cannot be used.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise OnlineConfigError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise OnlineConfigError(f"{path} is no YAML: {_describe(error)}") from None  # quotes lines
    if not isinstance(given, dict):
        raise OnlineConfigError(f"{path} holds no mapping; give url, results and fields.")
    try:
        config = TypeAdapter(OnlineConfig).validate_python(_overlay(given))
        headers = _fill_secrets(config.headers, "headers")
        parameters = _fill_secrets(config.parameters, "parameters")
        used = _SECRET.findall(repr([config.headers, config.parameters]))
        secrets = tuple(os.environ[name] for name in used)
        return replace(config, headers=headers, parameters=parameters, secrets=secrets)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        is_private = first["loc"][0] in _PRIVATE
        shown = f"a {type(first['input']).__name__}" if is_private else repr(first["input"])
        raise OnlineConfigError(f"{path}: {name} is {shown}: {first['msg']}.") from None
    except OnlineConfigError as error:
        raise OnlineConfigError(f"{path}: {error}") from error


def _describe(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem} at line {error.problem_mark.line + 1}; correct it there."
    return f"{type(error).__name__}; expected a mapping of keys to values."


def _overlay(given: dict[str, Any]) -> dict[str, Any]:
    """Put what was given over the preset it names, mapping by mapping."""
    name = given.pop("preset", None)
    if name is not None and name not in PRESETS:
        raise OnlineConfigError(f"preset is {name!r}; expected one of: {', '.join(PRESETS)}.")
    known = {one.name for one in fields(OnlineConfig)} - {"secrets"}
    if unknown := set(given) - known:
        raise OnlineConfigError(
            f"unknown key {', '.join(map(repr, sorted(unknown, key=str)))}; "
            f"expected preset, {', '.join(sorted(known))}."
        )
    settings = dict(PRESETS.get(name, {})) if name else {}
    for key, value in given.items():
        is_mapping = isinstance(value, dict) and isinstance(settings.get(key), dict)
        settings[key] = settings[key] | value if is_mapping else value
    if missing := {"url", "results", "fields"} - set(settings):
        raise OnlineConfigError(f"{', '.join(sorted(missing))} is missing; give it, or a preset.")
    return settings


def _fill_secrets(values: dict[str, Any], where: str) -> dict[str, Any]:
    for key, value in values.items():
        for name in _SECRET.findall(str(value)):
            if not os.environ.get(name):
                raise OnlineConfigError(
                    f"{where}.{key} names ${{{name}}}, which is not set; export {name} first."
                )
    return {
        key: _SECRET.sub(lambda match: os.environ[match[1]], value)
        if isinstance(value, str)
        else value
        for key, value in values.items()
    }
