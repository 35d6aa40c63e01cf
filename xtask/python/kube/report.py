"""What a check found: one line each on the standard output, tab-separated, for `cargo xtask kube` to make a table of."""

OK, FAILED, SKIPPED = "ok", "failed", "skipped"


def say(state: str, group: str, what: str, detail: str = "") -> None:
    """`detail` may have several lines: what is wrong with it, or why it was skipped."""
    fields = [state, group, what, detail.strip().replace("\t", " ").replace("\n", "\\n")]
    print("\t".join(fields), flush=True)


def check(group: str, what: str, problems: list[str], good: str = "") -> bool:
    """Good when there are no problems."""
    say(FAILED if problems else OK, group, what, "\n".join(problems) or good)
    return not problems
