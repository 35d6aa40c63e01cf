//! What a chore says on the terminal: numbered steps with their time, colours only on a terminal.

use std::io::IsTerminal;
use std::time::SystemTime;

/// Numbered steps, `[2/5] Title`.
#[derive(Debug)]
pub(crate) struct Steps {
    total: usize,
    started: usize,
}

/// A step under way.
#[derive(Debug)]
pub(crate) struct Step {
    began: SystemTime,
}

impl Steps {
    /// `total` steps will follow.
    pub(crate) fn new(total: usize) -> Self {
        Self { total, started: 0 }
    }

    /// Announces the next step.
    pub(crate) fn start(&mut self, title: &str) -> Step {
        self.started += 1;
        println!("{} {title}", bold(&format!("[{}/{}]", self.started, self.total)));
        Step { began: SystemTime::now() }
    }
}

impl Step {
    /// Says how the step went, and how long it took.
    pub(crate) fn done(self, what: &str) {
        println!("      {} ({})", green(what), self.took());
    }

    /// Says that the step failed, and how long it took.
    pub(crate) fn failed(self, what: &str) {
        println!("      {} ({})", red(what), self.took());
    }

    fn took(&self) -> String {
        // The wall clock may be set back meanwhile; then the time is unknown and shown as 0.
        format!("{:.1} s", self.began.elapsed().unwrap_or_default().as_secs_f64())
    }
}

pub(crate) fn bold(text: &str) -> String {
    paint("1", text)
}

pub(crate) fn green(text: &str) -> String {
    paint("32", text)
}

pub(crate) fn red(text: &str) -> String {
    paint("31", text)
}

/// Whether a person looks at the output.
pub(crate) fn on_terminal() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn paint(code: &str, text: &str) -> String {
    if on_terminal() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}
