//! What the bench is doing, on standard error; the result alone goes to standard output.
#![allow(clippy::print_stderr, reason = "a command line tool talks on the terminal")]

use std::io::IsTerminal;

/// A line about what happens now.
pub fn step(message: impl std::fmt::Display) {
    let (on, off) = colour("\x1b[36m");
    eprintln!("{on}bench:{off} {message}");
}

/// A line about what went wrong.
pub fn error(message: impl std::fmt::Display) {
    let (on, off) = colour("\x1b[1;31m");
    eprintln!("{on}error:{off} {message}");
}

/// Colours are for people: only on a terminal, and not when `NO_COLOR` is set.
fn colour(on: &'static str) -> (&'static str, &'static str) {
    let wanted = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    if wanted { (on, "\x1b[0m") } else { ("", "") }
}
