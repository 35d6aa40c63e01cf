"""Programs that may be there or not. A check that lacks one is skipped, by its name."""

import dataclasses
import pathlib
import subprocess

from report import SKIPPED, say


@dataclasses.dataclass
class Tool:
    """A program, and how one gets it."""

    path: str
    source: str

    def run(self, *arguments: object, **options) -> subprocess.CompletedProcess:
        command = [self.path, *map(str, arguments)]
        return subprocess.run(command, text=True, capture_output=True, timeout=120, check=False, **options)

    def problems(self, *arguments: object, **options) -> list[str]:
        """What it says when it fails, else nothing."""
        done = self.run(*arguments, **options)
        return [] if done.returncode == 0 else [(done.stderr + done.stdout).strip() or f"exit code {done.returncode}"]

    def is_there(self, group: str, what: str) -> bool:
        if self.path and pathlib.Path(self.path).exists():
            return True
        say(SKIPPED, group, what, f"needs {self.source}")
        return False
