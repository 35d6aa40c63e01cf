"""Checks Nereid on this machine's GPUs: `python3 gpu-check.pyz --parts DIR`. Needs Python 3.10, no network and no package.

It unpacks the parts of the bundle that have arrived, runs the checks, and prints one table.
"""

import argparse
import datetime
import json
import pathlib
import sys
from dataclasses import asdict

import bundle
import machine
import outcome
import runner
from steps import STEPS


def main() -> int:
    parser = argparse.ArgumentParser(prog="gpu-check", description=__doc__)
    parser.add_argument("--parts", type=pathlib.Path, default=pathlib.Path(sys.argv[0]).resolve().parent, help="folder with the parts and manifest.json [default: beside this file]")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/tmp/nereid-gpu-check"), help="where to unpack and to write [default: %(default)s]")
    parser.add_argument("--unpack-only", action="store_true", help="unpack what has arrived and say what is missing")
    parser.add_argument("--only", metavar="STEP,…", help=f"run these steps: {', '.join(s.name for s in STEPS)}")
    parser.add_argument("--budget-secs", type=float, default=480, help="time for all steps [default: %(default)s]")
    parser.add_argument("--quick", action="store_true", help="measure for a fraction of a second, to try the script itself")
    parser.add_argument("--json", type=pathlib.Path, help="write every number to this file")
    parser.add_argument("--markdown", type=pathlib.Path, help="write the table for docs/gpu.md to this file")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--context", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        options = json.loads(args.context)
        context = runner.Context(pathlib.Path(options["bundle"]), pathlib.Path(options["work"]), options["quick"])
        return runner.run_one(next(s for s in STEPS if s.name == args.one), context)
    return check(parser, args)


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    chosen = args.only.split(",") if args.only else [s.name for s in STEPS]
    if unknown := set(chosen) - {s.name for s in STEPS}:
        parser.error(f"no such step: {', '.join(unknown)}")
    context = runner.Context(args.work / "bundle", args.work / "steps", args.quick)
    try:
        unpacked = bundle.unpack(args.parts, context.bundle)
    except bundle.BundleError as error:
        print(f"error: {error}")
        return 2
    print(f"unpacked: {', '.join(unpacked.items) or 'nothing'}")
    if unpacked.missing:
        print(f"still to come: {', '.join(unpacked.missing)}")
    if args.unpack_only:
        return 1 if unpacked.missing else 0
    for name, value in machine.describe():
        print(f"{name:22} {value}")
    steps = [s for s in STEPS if s.name in chosen]
    rows = runner.run_all(steps, context, [sys.executable, sys.argv[0]], args.budget_secs)
    date, device = datetime.date.today().isoformat(), machine.device_name()
    print(f"\n{outcome.table(rows)}\n\n{date}, {device}: {outcome.summary(rows)}")
    if args.json:
        report = {"date": date, "device": device, "machine": dict(machine.describe()), "rows": [asdict(r) for r in rows]}
        args.json.write_text(json.dumps(report, indent=1))
    if args.markdown:
        args.markdown.write_text(outcome.markdown(rows, date, device))
    return 1 if any(row.status == outcome.FAIL for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
