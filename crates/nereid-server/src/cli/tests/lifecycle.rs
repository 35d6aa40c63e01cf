//! When the server is ready and how it ends, on the command line.

use super::*;

#[track_caller]
fn error(flags: &[&str]) -> String {
    match parse_all(&[&["--model-repository=/models"], flags].concat()) {
        Parsed::Error { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_ready_means() {
    use ReadyWhen::{All, Any, Server, Startup};
    for (flags, expected) in [
        (&[][..], All),
        (&["--ready-when=all"], All),
        (&["--ready-when=STARTUP"], Startup),
        (&["--ready-when=any"], Any),
        (&["--ready-when=server"], Server),
        (&["--strict-readiness=true"], All),
        (&["--strict-readiness=true", "--ready-when=startup"], Startup),
        (&["--strict-readiness=false"], Server),
        (&["--strict-readiness=false", "--ready-when=server"], Server),
        (
            &["--ready-when=any", "--ready-when=all", "--strict-readiness=false", "--strict-readiness=true"],
            All,
        ),
    ] {
        assert_eq!(options(flags).repository.ready_when, expected, "{flags:?}");
    }
    for flags in [
        &["--strict-readiness=false", "--ready-when=startup"],
        &["--ready-when=all", "--strict-readiness=false"],
        &["--ready-when=server", "--strict-readiness=true"],
    ] {
        let message = error(flags);
        assert!(
            message.starts_with("--strict-readiness and --ready-when contradict each other"),
            "{message}"
        );
    }
    let message = error(&["--ready-when=often"]);
    assert!(message.contains("it is one of all, startup, any, server"), "{message}");
}

#[test]
fn the_delay_of_the_end() {
    assert_eq!(options(&[]).shutdown_delay_secs, 0);
    for (text, expected) in [("7", 7), ("-1", 0)] {
        assert_eq!(options(&[&format!("--shutdown-delay-secs={text}")]).shutdown_delay_secs, expected);
    }
}

#[test]
fn the_age_of_http_connections() {
    for (text, expected) in [("5", Some(5)), ("0", None), ("-1", None)] {
        let flag = format!("--http-max-connection-age={text}");
        assert_eq!(options(&[&flag]).http.max_age_ms, expected);
        assert_eq!(options(&[&flag]).grpc.connections.max_age_ms, None);
    }
    assert_eq!(options(&[]).http.max_age_ms, None);
}
