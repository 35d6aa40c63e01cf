//! From arguments to [`Options`]. clap splits them the way `getopt_long` does for Triton (`--flag=value`,
//! `--flag value`, unambiguous abbreviations); the table then applies each flag in the order given.

use std::ffi::{OsStr, OsString};
use std::mem;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::flags::{self, Draft, Flag, Value};
use super::options::ModelControlMode;
use super::{Parsed, check, help};
use crate::logging::LogFormat;

/// Triton's program.
const TRITON: &str = "tritonserver";

/// Parses a command line whose first item is the program's name, as in [`std::env::args_os`]. The name may be there twice:
/// manifests for Triton's images, which have no entry point, begin their arguments with it.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Parsed {
    let mut args: Vec<OsString> = args.into_iter().collect();
    if args.get(1).is_some_and(|word| Path::new(word).file_name() == Some(OsStr::new(TRITON))) {
        args.remove(1);
    }
    let given = match command().try_get_matches_from(args) {
        Ok(matches) => occurrences(&matches),
        Err(error) => return wrong(message(&error)),
    };
    let mut draft = Draft::default();
    for (flag, text) in given {
        if flag.name == flags::HELP {
            return Parsed::Help(help::usage());
        }
        if let Err(reason) = (flag.apply)(&mut draft, &text) {
            return wrong(bad_option(&format!("--{}", flag.name), &reason));
        }
        draft.warn_of(flag);
    }
    finish(draft)
}

/// The form in which to say what is wrong with a command line: that of the last `--log-format` in it that makes sense.
pub fn wanted_log_format(args: impl IntoIterator<Item = OsString>) -> LogFormat {
    let mut wanted = LogFormat::Default;
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let value = match arg.to_str().and_then(|arg| arg.strip_prefix("--log-format")) {
            Some("") => args.next(),
            Some(value) => value.strip_prefix('=').map(OsString::from),
            None => continue,
        };
        let format = value.and_then(|value| value.to_str()?.parse().ok());
        wanted = format.unwrap_or(wanted);
    }
    wanted
}

/// Settles what depends on more than one flag.
fn finish(mut draft: Draft) -> Parsed {
    if draft.disable_auto_complete {
        if draft.strict_model_config == Some(false) {
            draft.warn("Overriding deprecated '--strict-model-config' from False to True in favor of '--disable-auto-complete-config'!");
        }
        draft.options.repository.auto_complete = false;
    }
    if draft.response_cache_byte_size && draft.cache_config {
        return wrong(
            "Error: Incompatible flags --response-cache-byte-size and --cache-config both provided. Please provide \
             one or the other."
                .to_owned(),
        );
    }
    match mem::take(&mut draft.trace).finish(&|name| std::env::var(name).ok()) {
        Ok((trace, warnings)) => {
            draft.options.trace = trace;
            warnings.into_iter().for_each(|warning| draft.warn(warning));
        }
        Err(message) => return wrong(message),
    }
    let ready_when = match check::readiness(draft.strict_readiness, draft.ready_when) {
        Ok(ready_when) => ready_when,
        Err(message) => return wrong(message),
    };
    let options = &mut draft.options;
    let repository = &mut options.repository;
    repository.ready_when = ready_when;
    repository.load_all =
        repository.control_mode != ModelControlMode::Explicit || repository.load_models.contains("*");
    options.metrics.address = draft.metrics_address.take().unwrap_or_else(|| options.http.address.clone());
    match check::combinations(options) {
        Ok(()) => Parsed::Run(Box::new(draft.options), draft.warnings),
        Err(message) => wrong(message),
    }
}

fn command() -> Command {
    Command::new("nereid")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .infer_long_args(true)
        .args(flags::all().map(arg))
}

fn arg(flag: &'static Flag) -> Arg {
    let arg = Arg::new(flag.name).long(flag.name);
    match flag.value {
        Value::None => arg.action(ArgAction::Count),
        // Triton's own getopt wants a value; a bare one is unmistakable, so it means true.
        Value::Boolean | Value::Level => {
            let arg = arg.action(ArgAction::Append).num_args(0..=1).default_missing_value("true");
            arg.allow_negative_numbers(matches!(flag.value, Value::Level))
        }
        _ => arg.action(ArgAction::Append).num_args(1).allow_hyphen_values(true),
    }
}

/// The flags of the command line and their values, in the order given.
fn occurrences(matches: &ArgMatches) -> Vec<(&'static Flag, String)> {
    let mut found = Vec::new();
    for flag in flags::all() {
        let indices = matches.indices_of(flag.name).into_iter().flatten();
        if matches!(flag.value, Value::None) {
            if matches.get_count(flag.name) > 0 {
                found.push((indices.min().unwrap_or(0), flag, String::new()));
            }
        } else {
            let values = matches.get_many::<String>(flag.name).into_iter().flatten();
            found.extend(indices.zip(values).map(|(index, text)| (index, flag, text.clone())));
        }
    }
    found.sort_by_key(|(index, ..)| *index);
    found.into_iter().map(|(_, flag, text)| (flag, text)).collect()
}

fn wrong(message: String) -> Parsed {
    Parsed::Error { usage: help::usage(), message }
}

fn bad_option(option: &str, reason: &str) -> String {
    format!("Bad option: \"{option}\".\n{reason}")
}

/// clap's error in Triton's and getopt's words.
fn message(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let argument = context(ContextKind::InvalidArg).unwrap_or_default();
    let option = argument.split([' ', '=', '[']).next().unwrap_or(argument).trim_end_matches("...");
    let reason = match error.kind() {
        ErrorKind::UnknownArgument if !argument.starts_with("--") && !is_short(argument) => {
            return format!("Unexpected argument: {argument}");
        }
        ErrorKind::UnknownArgument => unknown(option, context(ContextKind::SuggestedArg)),
        ErrorKind::InvalidValue | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            "option requires an argument".to_owned()
        }
        ErrorKind::TooManyValues => "option doesn't allow an argument".to_owned(),
        ErrorKind::InvalidUtf8 => return "Unexpected argument: not valid UTF-8".to_owned(),
        _ => error.to_string(),
    };
    bad_option(option, &reason)
}

fn is_short(argument: &str) -> bool {
    argument.len() > 1 && argument.starts_with('-')
}

fn unknown(option: &str, suggestion: Option<&str>) -> String {
    let prefix = option.trim_start_matches('-');
    let several: Vec<_> =
        flags::all().filter(|f| f.name.starts_with(prefix)).map(|f| format!("--{}", f.name)).collect();
    if !prefix.is_empty() && option.starts_with("--") && several.len() > 1 {
        return format!("option is ambiguous; possibilities: {}", several.join(" "));
    }
    match suggestion {
        Some(suggestion) => format!("unrecognized option; did you mean \"{suggestion}\"?"),
        None => "unrecognized option".to_owned(),
    }
}
