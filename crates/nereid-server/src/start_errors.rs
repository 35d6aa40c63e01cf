//! Why a server does not start, in words, and what may be done about it: for the log, and for the last line of it, which is
//! what `kubectl describe pod` shows.

use std::fmt::Write as _;
use std::io::{self, ErrorKind};

use anyhow::anyhow;
use nereid_repository::StartupFailure;

/// So many models are told in one line, with so many characters for all: Kubernetes shows no more than 2 KiB.
const SHOWN: usize = 3;
const SHOWN_CHARS: usize = 1500;

/// A model that did not load: `'<model>': <reason>; <hint>`.
pub(crate) fn model(failure: &StartupFailure) -> String {
    let StartupFailure { model, error, hint } = failure;
    let error = error.with_code();
    match hint {
        Some(hint) => format!("'{model}': {}; {hint}", error.trim_end_matches(['.', ';', '\n'])),
        None => format!("'{model}': {}", error.trim_end_matches([';', '\n'])),
    }
}

/// All that did not load, in a line.
pub(crate) fn models(failures: &[StartupFailure]) -> String {
    let most = SHOWN_CHARS / failures.len().clamp(1, SHOWN);
    let shown = failures.iter().take(SHOWN).map(|failure| {
        let text = model(failure);
        match text.char_indices().nth(most) {
            Some((end, _)) => format!("{} …", &text[..end]),
            None => text,
        }
    });
    let mut line = shown.collect::<Vec<_>>().join(" | ");
    if failures.len() > SHOWN {
        write!(line, " | and {} more", failures.len() - SHOWN).expect("a String takes all");
    }
    line
}

/// A port that cannot be taken for `what`, such as `HTTP service`.
pub(crate) fn port(what: &str, host: &str, port: u16, error: &io::Error) -> anyhow::Error {
    let endpoint = what.split(' ').next().unwrap_or_default().to_lowercase();
    let advice = match error.kind() {
        ErrorKind::AddrInUse => {
            format!("; something else listens there: stop it, or give another port with --{endpoint}-port")
        }
        ErrorKind::PermissionDenied => format!(
            "; ports below 1024 are for root or whoever has CAP_NET_BIND_SERVICE: give another with --{endpoint}-port"
        ),
        _ => format!("; --{endpoint}-address must be an address of this machine, such as 0.0.0.0"),
    };
    anyhow!("{what}: cannot take {host}:{port}: {error}{advice}")
}

#[cfg(test)]
mod tests {
    use nereid_core::Error;
    use nereid_repository::ModelId;

    use super::*;

    fn failure(model: &str, text: &str, hint: Option<&str>) -> StartupFailure {
        let model = ModelId { namespace: "".into(), name: model.into() };
        StartupFailure { model, error: Error::internal(text), hint: hint.map(str::to_owned) }
    }

    #[test]
    fn models_in_a_line() {
        let a = failure("a", "no file;", None);
        let b = failure("b", "no folder.", Some("make one"));
        assert_eq!(models(&[a.clone(), b]), "'a': Internal: no file | 'b': Internal: no folder; make one");
        let many = vec![a; 5];
        assert!(models(&many).ends_with("'a': Internal: no file | and 2 more"));
        let long = failure("m", &"\u{e4}".repeat(10_000), None);
        let line = models(&vec![long; 100]);
        assert!(line.chars().count() < 1600, "{}", line.chars().count());
    }

    #[test]
    fn ports() {
        let text = |kind: ErrorKind| format!("{:#}", port("HTTP service", "::", 80, &kind.into()));
        assert_eq!(
            text(ErrorKind::PermissionDenied),
            "HTTP service: cannot take :::80: permission denied; ports below 1024 are for root or whoever has \
             CAP_NET_BIND_SERVICE: give another with --http-port"
        );
        assert!(text(ErrorKind::AddrInUse).ends_with("stop it, or give another port with --http-port"));
        assert!(text(ErrorKind::AddrNotAvailable).contains("--http-address must be"));
    }
}
