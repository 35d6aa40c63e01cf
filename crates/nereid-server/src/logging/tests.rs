//! Events through the layer into a file: which are shown, and what a record looks like.

use std::fs;
use std::path::Path;

use tracing::subscriber::with_default;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

/// One event of each level, of ours and of a dependency.
fn say() {
    tracing::error!("error");
    tracing::warn!("warning");
    tracing::info!("info");
    tracing::debug!("debug");
    tracing::trace!("trace");
    tracing::error!(target: "hyper::proto", "their error");
    tracing::warn!(target: "hyper::proto", "their warning");
    tracing::info!(target: "hyper::proto", "their info");
    tracing::debug!(target: "hyper::proto", "their debug");
    tracing::trace!(target: "hyper::proto", "their trace");
}

/// What `act` logs with `options`, without the parts that change from run to run.
fn logged(options: LogOptions, escape: bool, act: impl FnOnce(&LogControl, &Path)) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let control = LogControl::new(&LogOptions { file: Some(path.clone()), ..options }, escape).unwrap();
    with_default(tracing_subscriber::registry().with(control.layer()), || act(&control, &path));
    let text = fs::read_to_string(&path).unwrap();
    let process = std::process::id().to_string();
    let shown = |record: &str| {
        let (preamble, message) = record.split_once("] ").unwrap();
        let words: Vec<_> = preamble.split(' ').collect();
        let [level_and_date, time, pid, place] = words[..] else { panic!("{preamble}") };
        let (file, line) = place.split_once(':').unwrap();
        assert!(line.parse::<u32>().unwrap() > 0);
        assert_eq!((level_and_date.len(), time.len(), pid, file), (5, 15, process.as_str(), "tests.rs"));
        format!("{} {message}", &level_and_date[..1])
    };
    text.lines().map(shown).collect()
}

#[test]
fn levels() {
    let all = LogOptions::default();
    let none = LogOptions { info: false, warning: false, error: false, ..all.clone() };
    let normal = ["E error", "W warning", "I info", "E their error", "W their warning"];
    for (options, expected) in [
        (all.clone(), &normal[..]),
        (LogOptions { warning: false, ..all.clone() }, &["E error", "I info", "E their error"]),
        (
            LogOptions { info: false, ..all.clone() },
            &["E error", "W warning", "E their error", "W their warning"],
        ),
        (LogOptions { error: true, ..none.clone() }, &["E error", "E their error"]),
        (none.clone(), &[]),
        (LogOptions { verbose: 1, ..none.clone() }, &["I debug"]),
        (LogOptions { verbose: 2, ..none.clone() }, &["I debug", "I trace", "I their debug"]),
        (
            LogOptions { verbose: 3, info: true, ..none },
            &["I info", "I debug", "I trace", "I their info", "I their debug", "I their trace"],
        ),
    ] {
        assert_eq!(logged(options.clone(), false, |_, _| say()), expected, "{options:?}");
    }
}

#[test]
fn fields_follow_the_message() {
    let records = logged(LogOptions::default(), true, |_, _| {
        let span = tracing::info_span!("not shown", id = 1);
        span.in_scope(|| tracing::info!(model = "m\"x", version = 3u64, took = ?[1, 2], "loaded {}", "it"));
        tracing::warn!(reason = "no message");
    });
    assert_eq!(records, [r#"I "loaded it model=m\"x version=3 took=[1, 2]""#, r#"W "reason=no message""#]);
}

/// What `act` logs as JSON.
fn logged_json(act: impl FnOnce(&LogControl)) -> Vec<serde_json::Value> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let options =
        LogOptions { file: Some(path.clone()), format: LogFormat::Json, verbose: 2, ..LogOptions::default() };
    let control = LogControl::new(&options, false).unwrap();
    with_default(tracing_subscriber::registry().with(control.layer()), || act(&control));
    let text = fs::read_to_string(&path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn json_records_have_typed_fields() {
    let records = logged_json(|control| {
        tracing::info!(
            model = "m\"x\n",
            version = 3u64,
            less = -1i64,
            share = 0.5,
            none = f64::NAN,
            ok = true,
            took = ?["a\nb"],
            shown = %"x\ty",
            message_too = 1,
            "level \"{}\"\n{{}}",
            "it"
        );
        tracing::error!(reason = "no message");
        tracing::trace!("no fields");
        control.change(&LogChange { format: Some(LogFormat::Iso8601), ..LogChange::default() });
        control.change(&LogChange { format: Some(LogFormat::Json), ..LogChange::default() });
        tracing::debug!("");
    });
    let process = std::process::id();
    let levels: Vec<_> = records.iter().map(|r| (&r["level"], &r["verbose_level"])).collect();
    let shown = serde_json::json!(["INFO", "ERROR", "TRACE", "DEBUG", null, 2, 1]);
    let none = &shown[4];
    assert_eq!(
        levels,
        [(&shown[0], none), (&shown[1], none), (&shown[2], &shown[5]), (&shown[3], &shown[6])]
    );
    for record in &records {
        assert_eq!(record["process"], process);
        assert!(record["source"].as_str().unwrap().starts_with("tests.rs:"), "{record}");
        assert_eq!(record["time"].as_str().unwrap().len(), "2024-02-29T12:34:56.007089Z".len());
    }
    assert_eq!(records[0]["message"], "level \"it\"\n{}");
    assert_eq!(
        records[0]["fields"],
        serde_json::json!({
            "model": "m\"x\n", "version": 3, "less": -1, "share": 0.5, "none": "NaN", "ok": true,
            "took": "[\"a\\nb\"]", "shown": "x\ty", "message_too": 1
        })
    );
    assert_eq!((&records[1]["message"], &records[1]["fields"]["reason"]), (&"".into(), &"no message".into()));
    assert!(records[2..].iter().all(|record| record.get("fields").is_none()));
}

#[test]
fn settings_change_while_call_sites_are_cached() {
    let records = logged(LogOptions::default(), false, |control, path| {
        let say = |n: u32| tracing::debug!("{n}");
        say(1);
        let file = Some(path.to_owned());
        control.change(&LogChange { verbose: Some(1), ..LogChange::default() });
        assert_eq!(control.options(), LogOptions { verbose: 1, file: file.clone(), ..LogOptions::default() });
        say(2);
        control.change(&LogChange {
            format: Some(LogFormat::Iso8601),
            error: Some(false),
            ..LogChange::default()
        });
        assert_eq!(
            control.options(),
            LogOptions {
                verbose: 1,
                format: LogFormat::Iso8601,
                error: false,
                file,
                ..LogOptions::default()
            }
        );
        control.change(&LogChange { format: Some(LogFormat::Default), ..LogChange::default() });
        say(3);
        control.change(&LogChange::default());
        say(4);
        control.change(&LogChange { verbose: Some(0), ..LogChange::default() });
        say(5);
    });
    assert_eq!(records, ["I 2", "I 3", "I 4"]);
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = Some(directory.path().join("no directory/log"));
    let error = LogControl::new(&LogOptions { file, ..LogOptions::default() }, false).unwrap_err();
    assert!(error.message().starts_with("Failed to open log file '"), "{error}");
    assert!(error.message().contains("no directory/log"), "{error}");
}

#[test]
fn files_are_appended_to_and_a_full_disk_is_no_panic() {
    let records = logged(LogOptions::default(), false, |_, path| {
        tracing::info!("first");
        let second =
            LogControl::new(&LogOptions { file: Some(path.to_owned()), ..LogOptions::default() }, false)
                .unwrap();
        with_default(tracing_subscriber::registry().with(second.layer()), || tracing::info!("second"));
    });
    assert_eq!(records, ["I first", "I second"]);
    // Linux's disk that is always full.
    if Path::new("/dev/full").exists() {
        let full = LogOptions { file: Some("/dev/full".into()), ..LogOptions::default() };
        let control = LogControl::new(&full, false).unwrap();
        with_default(tracing_subscriber::registry().with(control.layer()), || tracing::info!("lost"));
    }
}
