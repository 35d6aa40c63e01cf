//! Counts passed and failed tests from what `cargo test` and pytest print.

/// Tests that were run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Tally {
    /// Counts a line of `cargo test`, such as `test result: ok. 3 passed; 0 failed; …`.
    pub(crate) fn see_cargo(&mut self, line: &str) {
        if let Some((_, counts)) = without_colour(line).split_once("test result: ") {
            self.add(counts.split(['.', ';']));
        }
    }

    /// Counts pytest's last line, such as `=== 2 failed, 10 passed, 1 error in 3.4s ===`.
    pub(crate) fn see_pytest(&mut self, line: &str) {
        let line = without_colour(line);
        if let Some((counts, _)) = line.trim_matches(['=', ' ']).split_once(" in ") {
            self.add(counts.split(','));
        }
    }

    fn add<'a>(&mut self, counts: impl Iterator<Item = &'a str>) {
        for count in counts {
            let Some((number, word)) = count.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            match word {
                "passed" => self.passed += number,
                "failed" | "error" | "errors" => self.failed += number,
                _ => {}
            }
        }
    }
}

/// `line` without escape sequences such as `ESC [ 32 m`.
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut parts = line.split('\x1b');
    plain.extend(parts.next());
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(see: fn(&mut Tally, &str), line: &str, passed: usize, failed: usize) {
        let mut tally = Tally::default();
        see(&mut tally, line);
        assert_eq!(tally, Tally { passed, failed }, "{line}");
    }

    #[test]
    fn cargo_lines() {
        check(
            Tally::see_cargo,
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out",
            12,
            0,
        );
        check(
            Tally::see_cargo,
            "test result: \x1b[31mFAILED\x1b(B\x1b[m. 2 passed; 3 failed; 0 ignored",
            2,
            3,
        );
        check(Tally::see_cargo, "test queue::tests::five_passed ... ok", 0, 0);
    }

    #[test]
    fn pytest_lines() {
        check(Tally::see_pytest, "===== 10 passed in 3.41s =====", 10, 0);
        check(Tally::see_pytest, "= 2 failed, 10 passed, 3 skipped, 1 error in 1.00s (0:00:01) =", 10, 3);
        check(Tally::see_pytest, "\x1b[32m\x1b[1m7 passed\x1b[0m\x1b[32m in 0.10s\x1b[0m", 7, 0);
        check(Tally::see_pytest, "test_http.py::test_x PASSED", 0, 0);
    }
}
