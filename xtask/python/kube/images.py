"""The files that images are built from."""

import pathlib

from report import check
from tools import Tool


def run(root: pathlib.Path, hadolint: Tool) -> None:
    """Each Dockerfile of docker/ by hadolint; nothing is built here."""
    if hadolint.is_there("images", "hadolint"):
        for file in sorted((root / "docker").glob("Dockerfile*")):
            if not file.name.endswith(".dockerignore"):
                check("images", f"hadolint {file.name}", hadolint.problems(file))
