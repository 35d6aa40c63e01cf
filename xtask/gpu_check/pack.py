"""Makes the bundle and the one file that checks: pack.py OUT [PART_BYTES]. Standard input is JSON, a map from item to a map
from the path in the bundle to the file that goes there."""

import json
import pathlib
import sys
import zipapp

import bundle

PROGRAM = "gpu-check.pyz"


def main(out: pathlib.Path, part_bytes: int) -> int:
    try:
        bundle.pack(json.load(sys.stdin), out, part_bytes, say)
    except bundle.BundleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    here = pathlib.Path(__file__).parent
    zipapp.create_archive(here, out / PROGRAM, filter=lambda path: path.suffix == ".py" and path.name != "pack.py")
    say(f"{out / PROGRAM}: unpacks and checks")
    return 0


def say(line: str) -> None:
    print(f"      {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else bundle.PART_BYTES))
