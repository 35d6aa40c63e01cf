"""What the lab says: colours on a terminal only, and the table that goes into k8s/README.md."""

import datetime
import os
import pathlib
import sys

BEGIN = "<!-- Seen by `cargo xtask kube-lab --write` -->"
END = "<!-- End of what was seen -->"


def paint(code: str, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text


def bold(text: str) -> str:
    return paint("1", text)


def green(text: str) -> str:
    return paint("32", text)


def red(text: str) -> str:
    return paint("31", text)


def took(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def table(last: str, seen: list[dict], version: str) -> str:
    """What was seen now, and the rows of the `last` table for scenes that were not run."""
    date = datetime.datetime.now(datetime.UTC).strftime("%-d %B %Y")
    rows = {line.split("`")[1]: line for line in last.splitlines() if line.startswith("| `")}
    for one in seen:
        what = ("" if one["good"] else "**failed**: ") + one["seen"].replace("|", "/")
        rows[one["scene"]] = f"| `{one['scene']}` | {what} | {took(one['seconds'])} |"
    head = [f"{date}, {version}, one node with {os.cpu_count()} CPUs:", "", "| scene | what was seen | time |", "|---|---|---|"]
    return "\n".join([BEGIN, "", *head, *rows.values(), "", END])


def written(file: pathlib.Path, seen: list[dict], version: str) -> None:
    """Puts the table where the last one was."""
    text = file.read_text()
    before, rest = text.split(BEGIN)
    last, after = rest.split(END)
    file.write_text(before + table(last, seen, version) + after)
