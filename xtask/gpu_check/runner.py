"""Runs the steps, each in a process of its own with a limit of time: one that hangs or crashes costs its own rows only."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from outcome import FAIL, NOT_RUN, Failed, Findings, NotRun, Row, read


@dataclass(frozen=True)
class Context:
    """What every step is given."""

    bundle: pathlib.Path  # what was unpacked
    work: pathlib.Path  # where a step may write
    quick: bool  # short measurements, for trying the script itself

    def folder(self, name: str) -> pathlib.Path:
        path = self.work / name
        path.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True)
class Step:
    """`run` adds rows to the findings; it raises `NotRun` or `Failed` for what remains."""

    name: str
    limit_s: int
    run: Callable[[Context, Findings], None]


def run_all(steps: list[Step], context: Context, program: list[str], budget_s: float) -> list[Row]:
    """The rows of all steps, in their order. Steps for which no time is left say so."""
    deadline = time.monotonic() + budget_s
    rows: list[Row] = []
    for number, step in enumerate(steps, 1):
        left = deadline - time.monotonic()
        print(f"[{number}/{len(steps)}] {step.name}", flush=True)
        if left < 5:
            rows.append(Row(step.name, "all of it", NOT_RUN, f"the {budget_s:.0f} s of --budget-secs are used up"))
            continue
        rows += _run(step, context, program, min(step.limit_s, left))
    return rows


def _run(step: Step, context: Context, program: list[str], limit_s: float) -> list[Row]:
    findings = context.folder("rows") / f"{step.name}.jsonl"
    findings.unlink(missing_ok=True)
    options = json.dumps({"bundle": str(context.bundle), "work": str(context.work), "quick": context.quick})
    command = [*program, "--one", step.name, "--context", options]
    started = time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        code: int | None = child.wait(limit_s)
    except subprocess.TimeoutExpired:
        code = None
    _end_group(child)
    rows = read(findings)
    if code is None:
        rows.append(Row(step.name, "the rest", FAIL, f"stopped: it did not end within {limit_s:.0f} s"))
    elif code < 0:
        rows.append(Row(step.name, "the rest", FAIL, f"it crashed: {signal.Signals(-code).name}"))
    elif code > 0 or not rows:
        rows.append(Row(step.name, "the rest", FAIL, f"it ended with {code} and {len(rows)} rows"))
    print(f"  {time.monotonic() - started:.1f} s", flush=True)
    return rows


def _end_group(child: subprocess.Popen) -> None:
    """Ends what the step left running, a server for example."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def run_one(step: Step, context: Context) -> int:
    """Runs a step in this process; its exit code."""
    findings = Findings(context.folder("rows") / f"{step.name}.jsonl", step.name)
    try:
        step.run(context, findings)
    except NotRun as reason:
        findings.add("the rest" if read(findings.path) else "all of it", NOT_RUN, str(reason))
    except Failed as reason:
        findings.add("the rest", FAIL, str(reason))
    except Exception as error:  # noqa: BLE001: whatever it was, the other steps go on
        traceback.print_exc(file=sys.stdout)
        findings.add("the rest", FAIL, f"{type(error).__name__}: {error}")
    return 0
