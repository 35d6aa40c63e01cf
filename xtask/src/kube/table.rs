//! What the checks found: lines of tab-separated fields in, a table out.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::progress::{bold, green, red};

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    Failed,
    Skipped,
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    state: State,
    group: String,
    what: String,
    /// Lines: what is wrong, why it was skipped, or a remark.
    detail: String,
}

/// All checks, in the order in which they ran.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Takes one line of the checks; one that is none is a failure, so that nothing goes unseen.
    pub(crate) fn see(&mut self, line: &str) {
        self.rows.push(Row::parse(line).unwrap_or_else(|| Row {
            state: State::Failed,
            group: "checks".to_owned(),
            what: "unexpected output".to_owned(),
            detail: line.to_owned(),
        }));
    }

    pub(crate) fn passed(&self) -> usize {
        self.count(State::Ok)
    }

    pub(crate) fn failed(&self) -> usize {
        self.count(State::Failed)
    }

    pub(crate) fn skipped(&self) -> usize {
        self.count(State::Skipped)
    }

    fn count(&self, state: State) -> usize {
        self.rows.iter().filter(|row| row.state == state).count()
    }

    /// Counts by group, then every check that did not pass; with `verbose` every check.
    pub(crate) fn render(&self, verbose: bool) -> String {
        let mut groups: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
        for row in &self.rows {
            groups.entry(&row.group).or_default()[row.state as usize] += 1;
        }
        let mut text = format!("{:<12} {:>6} {:>6} {:>7}\n", "group", "ok", "failed", "skipped");
        for (group, [ok, failed, skipped]) in groups {
            writeln!(text, "{group:<12} {ok:>6} {failed:>6} {skipped:>7}")
                .expect("a String takes everything");
        }
        for row in self.rows.iter().filter(|row| verbose || row.state != State::Ok) {
            text.push_str(&row.render());
        }
        text
    }
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(4, '\t');
        let state = match fields.next()? {
            "ok" => State::Ok,
            "failed" => State::Failed,
            "skipped" => State::Skipped,
            _ => return None,
        };
        let [group, what, detail] = [fields.next()?, fields.next()?, fields.next()?];
        Some(Self {
            state,
            group: group.to_owned(),
            what: what.to_owned(),
            detail: detail.replace("\\n", "\n"),
        })
    }

    fn render(&self) -> String {
        let state = match self.state {
            State::Ok => green("ok     "),
            State::Failed => red("FAILED "),
            State::Skipped => bold("skipped"),
        };
        let remark = match self.state {
            State::Failed => self.detail.lines().map(|line| format!("\n          {line}")).collect(),
            _ if self.detail.is_empty() => String::new(),
            _ => format!(" ({})", self.detail),
        };
        format!("{state} {:<11} {}{remark}\n", self.group, self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], counts: [usize; 3], verbose: bool, rendered: &[&str]) {
        let mut table = Table::default();
        lines.iter().for_each(|line| table.see(line));
        assert_eq!([table.passed(), table.failed(), table.skipped()], counts, "{lines:?}");
        let text = table.render(verbose);
        assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), rendered, "{lines:?}");
    }

    #[test]
    fn groups_are_counted_and_what_did_not_pass_is_shown() {
        let lines = [
            "ok\thelm\tlint\t",
            "failed\thelm\ttemplate gpu\tline 1\\nline 2",
            "skipped\timages\thadolint\tneeds hadolint",
        ];
        let counted = ["helm              1      1       0", "images            0      0       1"];
        let shown = [
            "FAILED  helm        template gpu",
            "          line 1",
            "          line 2",
            "skipped images      hadolint (needs hadolint)",
        ];
        check(&lines, [1, 1, 1], false, &[&counted[..], &shown[..]].concat());
        let all = ["ok      helm        lint"];
        check(&lines, [1, 1, 1], true, &[&counted[..], &all[..], &shown[..]].concat());
    }

    #[test]
    fn a_line_that_is_no_result_is_a_failure() {
        let counted = "checks            0      1       0";
        for line in ["Traceback", "ok\tgroup\twhat", "fine\tgroup\twhat\t"] {
            let shown = format!("          {line}");
            check(&[line], [0, 1, 0], false, &[counted, "FAILED  checks      unexpected output", &shown]);
        }
        check(&[], [0, 0, 0], false, &[]);
    }
}
