"""One run from beginning to end: prepare, serve, train, sum up; whatever happens, stop it all."""

from __future__ import annotations

import signal
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from search_r1.errors import LaunchError
from search_r1.launch import stages
from search_r1.launch.checks import needs, preflight
from search_r1.launch.derive import is_remote_cluster, retriever_urls
from search_r1.launch.environment import training_environment
from search_r1.launch.plan_request import request_plan
from search_r1.launch.progress.outlook import Outlook, ask, probe_command
from search_r1.launch.progress.screen import say
from search_r1.launch.progress.watch import StepLines, watch
from search_r1.launch.retriever import retriever_command, wait_ready
from search_r1.processes import logs, marked, ray_dir, signals
from search_r1.processes.environment import base_environment
from search_r1.processes.guardian import Guardian
from search_r1.processes.peak_memory import MemorySampler
from search_r1.processes.service import HOST, Service, run_here
from search_r1.runs import layout, places

_READY_TIMEOUT_S = 600.0  # a large index takes minutes to load
_EXIT_GRACE_S = 15.0  # Ray's daemons end by themselves within seconds
_TRAINER = ("-m", "search_r1.verl_plugin.main")


def run(preset: str, overrides: Sequence[str], command: Sequence[str]) -> None:
    """Train a preset; raises LaunchError with the reason when that fails.

    Args:
        preset: Name of the preset.
        overrides: Hydra overrides.
        command: What the user typed, for the notes.
    """
    run_id = uuid.uuid4().hex
    with signals.signals_raise(run_id):
        say(f"Composing and checking the preset {preset} ...")
        plan = request_plan(preset, overrides)
        say(f"This run goes to {plan['run_dir']}")
        with ExitStack() as stack:
            run_ = Run(plan, run_id, command, stack)
            run_.prepare()
            run_.serve()
            if not plan["is_trained"]:
                run_.estimate()
            run_.cold_start()
            if not plan["is_trained"]:
                run_.train()
                run_.end_training()
            run_.evaluate()
            run_.clean_up()
            run_.sum_up()


class Run:
    """The steps of one run, in the order they are called.

    Args:
        plan: What :func:`request_plan` gave.
        run_id: Marks every process of the run.
        command: What the user typed.
        stack: Closes what the run opened.
    """

    def __init__(
        self, plan: dict[str, Any], run_id: str, command: Sequence[str], stack: ExitStack
    ) -> None:
        self.config: dict[str, Any] = plan["config"]
        self.run_dir = Path(plan["run_dir"])
        self._plan = plan
        self._run_id = run_id
        self._command = list(command)
        self._stack = stack
        self._stage_s: dict[str, float] = {}
        self._started = time.monotonic()
        self._unfinished: str | None = layout.EVALUATION if plan["is_trained"] else layout.TRAINING
        self._has_failed = not plan["is_trained"]
        self._retriever: Service | None = None
        self._outlook = Outlook()
        self._base_model: str = self.config["actor_rollout_ref"]["model"]["path"]
        self._cold_start: dict[str, Any] | None = None
        self._base = base_environment() | marked.marked_environment(run_id)
        if is_remote_cluster(self.config):  # its workers inherit nothing from us
            runtime_env = self.config["ray_kwargs"]["ray_init"]["runtime_env"]
            runtime_env["env_vars"] |= marked.marked_environment(run_id)
        self._uses_quickstart = preflight.uses_quickstart(self.config)
        if not self._uses_quickstart:
            preflight.require_ready(self.config)
        self._ray_dir = ray_dir.make()
        kept = self.run_dir / "logs" / "ray"
        stack.callback(lambda: ray_dir.drop(self._ray_dir, kept if self._has_failed else None))
        self._guardian = Guardian(run_id, self._ray_dir)
        stack.callback(self._guardian.dismiss)
        self._sampler = MemorySampler(run_id, [self._guardian.pid])
        self._sampler.start()
        stack.callback(self._sampler.stop)
        stack.callback(self.clean_up)

    def prepare(self) -> None:
        """Make the quickstart's files if the preset reads them, and check the machine."""
        if self._uses_quickstart:
            with self._stage("prepare"):
                run_here(preflight.QUICKSTART, self._base)
            preflight.require_ready(self.config)
        needs.fill_bucket(self.config)
        self._stack.enter_context(layout.occupy(self.run_dir))
        if self._plan["resumed_step"]:
            say(f"Continuing after step {self._plan['resumed_step']} of that run.")
            if self._plan["is_trained"]:
                say("  Its training is done; what is left is the evaluation.")
            is_evaluated = not self.config["trainer"]["val_before_train"]
            layout.set_abandoned_aside(self.run_dir, self._plan["resumed_step"], is_evaluated)
        for remark in preflight.remarks(self.config):
            say(f"  {remark}")
        self._write_notes()
        self._stack.callback(self._update_notes)

    def serve(self) -> None:
        """Serve the preset's index, if it names one, and write the config with the address."""
        retriever = self.config["search_r1"]["retriever"]
        if retriever.get("index"):
            with self._stage("retriever"):
                wanted = urlsplit(next(iter(retriever_urls(self.config)), "")).port or 0
                say(f"Starting the retrieval server over {retriever['index']} ...")
                command = retriever_command(retriever["index"], wanted)
                self._retriever = self._start(
                    "retrieval server", command, "retriever.log", self._base
                )
                port = wait_ready(self._retriever, wanted, _READY_TIMEOUT_S)
            retriever["client"]["url"] = f"http://{HOST}:{port}"
            say(f"  ready on {retriever['client']['url']} after {self._stage_s['retriever']:.0f} s")
        self._write_config()

    def estimate(self) -> None:
        """Say how long the run will take, on a machine where somebody waits for it: a CPU."""
        if self.config["trainer"]["device"] == "cpu":
            say("How long will it take on this machine? ...")
            command = probe_command(self.run_dir / layout.CONFIG, self._plan["resumed_step"] or 0)
            with self._stage("probe"):
                probe = self._start("probe", command, "probe.log", self._base)
                self._outlook = ask(probe, self.run_dir)
            self._update_notes()

    def cold_start(self) -> None:
        """Train on demonstrations first, if the config asks for it and nobody has done so yet."""
        found = stages.find_cold_start(self.config)
        if found is None:
            return
        with self._stage("cold_start"):
            if found.receipt:
                say(f"Beginning from the cold start in {found.folder}: nothing it needs changed.")
            else:
                say(f"Cold start: demonstrations first, then training on them, in {found.folder}")
                with layout.occupy(found.folder):
                    for child in stages.cold_start_children(
                        self.config, self.run_dir, found.folder
                    ):
                        self._run_child(child)
                found = stages.find_cold_start(self.config) or found
        self._cold_start = {"folder": str(found.folder), **(found.receipt or {})}
        stages.use_model(self.config, found.model)
        self._write_config()

    def evaluate(self) -> None:
        """Compare the models of the run on held-out questions, if the config asks for it."""
        if self.config["search_r1"].get("evaluation"):
            self._unfinished = layout.EVALUATION
            self.sum_up(is_shown=False)  # what stops the evaluation takes only that away
            child = stages.evaluation_child(self.config, self.run_dir, self._base_model)
            with self._stage("evaluate"):
                say("Comparing the models on held-out questions ...")
                self._run_child(child)
        self._unfinished = None

    def _run_child(self, child: stages.Child) -> None:
        """Run a command of a stage to its end; raises LaunchError with its last errors."""
        environment = training_environment(self.config, self.run_dir, self._base, self._ray_dir)
        log = f"{child.name.replace(' ', '_')}.log"
        service = self._start(child.name, child.command, log, environment)
        forecast = self._outlook.stage(child.name)
        code = watch(service, self.run_dir, child.name, forecast, self._require_retriever)
        service.stop()
        if code != 0:
            raise LaunchError(
                f"the {child.name} ended with exit code {code}. The last errors of {service.log}:\n"
                f"{logs.last_errors(service.output())}"
            )

    def _write_config(self) -> None:
        text = yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True)
        (self.run_dir / layout.CONFIG).write_text(text, encoding="utf-8")

    def train(self) -> None:
        """Run verl in a child until it ends, telling every step.

        Raises:
            LaunchError: When it fails, with the last errors of its log.
        """
        environment = training_environment(self.config, self.run_dir, self._base, self._ray_dir)
        say("Starting Ray, vLLM and the trainer; the first line takes a few minutes ...")
        say(f"  log: {self.run_dir / 'logs' / 'train.log'}")
        forecast = self._outlook.training(self.config, self._plan["resumed_step"] or 0)
        lines = StepLines(self.run_dir, forecast.steps, forecast.measure)
        command = [sys.executable, *_TRAINER, str(self.run_dir / layout.CONFIG)]

        def look() -> None:
            if lines.update():
                self._update_notes()
            self._require_retriever()

        with self._stage("train"):
            started = time.monotonic()
            trainer = self._start("training", command, "train.log", environment)
            code = watch(trainer, self.run_dir, "starting Ray", forecast, look)
            lines.update()
        if lines.first_line_at:
            self._stage_s["train_until_first_metrics"] = lines.first_line_at - started
        if code != 0:
            raise LaunchError(
                f"training ended with exit code {code}. The last errors of {trainer.log}:\n"
                f"{logs.last_errors(trainer.output())}"
            )
        self._has_failed = False

    def end_training(self) -> None:
        """Wait for Ray's processes to go, so that their memory and cores are free again."""
        kept = {self._retriever.pid} if self._retriever else set()

        def find() -> list[int]:
            return [pid for pid in marked.find_marked(self._run_id) if pid not in kept]

        marked.send(marked.wait_until_gone(find, _EXIT_GRACE_S), signal.SIGKILL)

    def clean_up(self) -> None:
        """End every process of the run that is still there; twice does no harm."""
        if self._retriever:
            self._retriever.stop()
        grace_s = 0.0 if self._has_failed else _EXIT_GRACE_S
        marked.wait_until_gone(lambda: marked.find_marked(self._run_id), grace_s)
        marked.end_marked(self._run_id)

    def sum_up(self, is_shown: bool = True) -> None:
        """Write summary and plots, and print the table."""
        self._write_notes()
        stages.summarize(self.run_dir, is_shown)

    def _start(self, name: str, command: list[str], log: str, env: Mapping[str, str]) -> Service:
        service = Service(name, command, self.run_dir / "logs" / log, env, places.root_dir())
        return self._stack.enter_context(service)

    def _require_retriever(self) -> None:
        if self._retriever and (code := self._retriever.poll()) is not None:
            raise LaunchError(
                f"the retrieval server ended with exit code {code} during training. The end of "
                f"{self._retriever.log}:\n{self._retriever.tail()}"
            )

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self._stage_s[name] = time.monotonic() - started

    def _update_notes(self) -> None:
        """Write the notes as they are so far; a full disk must not hide what ended the run."""
        with suppress(OSError):
            self._write_notes()

    def _write_notes(self) -> None:
        stages_s = {"total": time.monotonic() - self._started} | self._stage_s
        layout.write_notes(
            self.run_dir,
            part={
                "run_id": self._run_id,
                "command": self._command,
                "resumed_step": self._plan["resumed_step"],
                "stages_s": {name: round(value, 1) for name, value in stages_s.items()},
                "memory": self._sampler.report(),
            },
            unfinished=self._unfinished,
            preset=self._plan["preset"],
            overrides=self._plan["overrides"],
            base_model=self._base_model,
            cold_start=self._cold_start,
            estimate=self._outlook.estimate,
        )
