"""What the checks found: rows that pass, fail or say why they were not run; as a table, Markdown and JSON."""

import json
import pathlib
from dataclasses import asdict, dataclass, field

PASS, FAIL, NOT_RUN, SEEN = "pass", "fail", "not run", "seen"


class NotRun(Exception):
    """A check cannot be made here; the message says why."""


class Failed(Exception):
    """A check was made and did not hold; the message says what was seen."""


@dataclass
class Row:
    """One line of the table. `seen` is for people, `numbers` for programs."""

    step: str
    what: str
    status: str
    seen: str
    numbers: dict[str, object] = field(default_factory=dict)


class Findings:
    """Rows as they are found, each written at once: a check that crashes or hangs loses none of them."""

    def __init__(self, path: pathlib.Path, step: str) -> None:
        self.path, self.step = path, step

    def add(self, what: str, status: str, seen: str, **numbers: object) -> None:
        row = Row(self.step, what, status, " ".join(seen.split()), numbers)
        with open(self.path, "a") as file:
            file.write(json.dumps(asdict(row)) + "\n")
        print(f"  {status:8} {what}: {row.seen}", flush=True)

    def check(self, what: str, holds: bool, seen: str, **numbers: object) -> None:
        self.add(what, PASS if holds else FAIL, seen, **numbers)


def read(path: pathlib.Path) -> list[Row]:
    if not path.exists():
        return []
    return [Row(**json.loads(line)) for line in path.read_text().splitlines()]


def table(rows: list[Row]) -> str:
    """For a terminal: columns aligned, the last one as long as it is."""
    widths = [max(len(getattr(row, name)) for row in rows) for name in ("step", "what", "status")]
    return "\n".join(f"{r.step:{widths[0]}}  {r.what:{widths[1]}}  {r.status:{widths[2]}}  {r.seen}" for r in rows)


def markdown(rows: list[Row], date: str, device: str) -> str:
    """For docs/gpu.md."""
    lines = ["| date | device | check | of what | result | seen |", "|---|---|---|---|---|---|"]
    lines += [f"| {date} | {device} | {r.step} | {r.what} | {r.status} | {r.seen.replace('|', '/')} |" for r in rows]
    return "\n".join(lines) + "\n"


def summary(rows: list[Row]) -> str:
    counts = {status: sum(row.status == status for row in rows) for status in (PASS, FAIL, NOT_RUN)}
    return ", ".join(f"{count} {status}" for status, count in counts.items())
