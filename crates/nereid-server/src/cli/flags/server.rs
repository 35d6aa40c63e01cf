//! Flags of the server itself: identity, logging, model repository.

use nereid_repository::ReadyWhen;

use super::super::options::ModelControlMode;
use super::super::value;
use super::Value::{Boolean, Integer, Level, None as Bare, Text};
use super::{Draft, Flag, HELP, is, not_yet, put, ready};
use crate::logging::LogFormat;

pub(super) const GLOBAL: &[Flag] = &[ready(HELP, Bare, "", is::anything, "Print this text.")];

pub(super) const SERVER: &[Flag] = &[
    ready(
        "id",
        Text,
        "triton",
        |d, v| put(&mut d.options.server_id, Ok(v.to_owned())),
        "Name of this server, as its metadata shows it.",
    ),
    ready(
        "exit-timeout-secs",
        Integer,
        "30",
        |d, v| {
            put(&mut d.options.exit_timeout_secs, value::integer::<i32>(v).map(|n| n.max(0).unsigned_abs()))
        },
        "Seconds that in-flight inferences get to finish when the server is asked to exit, after \
         --shutdown-delay-secs. After that it exits anyway.",
    ),
    ready(
        "shutdown-delay-secs",
        Integer,
        "0",
        |d, v| {
            put(&mut d.options.shutdown_delay_secs, value::integer::<i32>(v).map(|n| n.max(0).unsigned_abs()))
        },
        "Seconds that the server, asked to exit, serves on without being ready, while load balancers lose it and its \
         clients are sent elsewhere (Connection: close, GOAWAY). A second signal ends them.",
    )
    .own(),
];

pub(super) const LOGGING: &[Flag] = &[
    ready(
        "log-verbose",
        Level,
        "0",
        |d, v| put(&mut d.options.log.verbose, value::verbose_level(v)),
        "Level of verbose messages: 0 for none, 1 and above for more and more. true is 1, false is 0.",
    ),
    ready(
        "log-info",
        Boolean,
        "true",
        |d, v| put(&mut d.options.log.info, value::boolean(v)),
        "Write messages of level INFO.",
    ),
    ready(
        "log-warning",
        Boolean,
        "true",
        |d, v| put(&mut d.options.log.warning, value::boolean(v)),
        "Write messages of level WARNING.",
    ),
    ready(
        "log-error",
        Boolean,
        "true",
        |d, v| put(&mut d.options.log.error, value::boolean(v)),
        "Write messages of level ERROR.",
    ),
    ready(
        "log-format",
        Text,
        "default",
        |d, v| {
            put(
                &mut d.options.log.format,
                v.parse().map_err(|_| "invalid argument for --log-format".to_owned()),
            )
        },
        LogFormat::HELP,
    ),
    ready(
        "log-file",
        Text,
        "",
        |d, v| put(&mut d.options.log.file, Ok((!v.is_empty()).then(|| v.into()))),
        "File that messages are appended to. Without it, INFO goes to the standard output, WARNING and ERROR to the \
         standard error.",
    ),
    ready(
        "access-log",
        Boolean,
        "false",
        |d, v| put(&mut d.options.access_log, value::boolean(v)),
        "Log each request for inference or model control: id, model, status, sizes, times of its phases, client.",
    )
    .own(),
];

pub(super) const REPOSITORY: &[Flag] = &[
    ready("model-store", Text, "", repository, "The same as --model-repository."),
    ready(
        "model-repository",
        Text,
        "",
        repository,
        "Directory with models, required. May be given several times; a model that is in more than one of them is \
         not available.",
    ),
    ready(
        "exit-on-error",
        Boolean,
        "true",
        |d, v| put(&mut d.options.repository.exit_on_error, value::boolean(v)),
        "Exit when something fails during start-up, such as the load of a model.",
    ),
    ready(
        "disable-auto-complete-config",
        Bare,
        "off",
        |d, _| put(&mut d.disable_auto_complete, Ok(true)),
        "Do not complete model configurations from the models: every model needs a complete config.pbtxt.",
    ),
    ready(
        "strict-readiness",
        Boolean,
        "true",
        |d, v| put(&mut d.strict_readiness, value::boolean(v).map(Some)),
        "/v2/health/ready answers ready only when all models are available. With false it is enough that the \
         server responds.",
    ),
    ready(
        "ready-when",
        Text,
        "all",
        ready_when,
        "When the server is ready. all: all models are, as with --strict-readiness=true, hence not while one is loaded. \
         startup: all models that are to be loaded at start-up have been; later loads and unloads do not count. any: \
         one model is. server: always, as with --strict-readiness=false.",
    )
    .own(),
    ready(
        "model-control-mode",
        Text,
        "none",
        control_mode,
        "How models come and go. none: all are loaded at start-up, nothing changes after. explicit: those of \
         --load-model at start-up, the others by the model control API. poll: changes in the repositories are \
         followed.",
    ),
    ready(
        "repository-poll-secs",
        Integer,
        "15",
        |d, v| put(&mut d.options.repository.poll_secs, value::integer(v)),
        "Seconds between two looks at the repositories in --model-control-mode=poll; 0 for none after start-up.",
    ),
    ready(
        "load-model",
        Text,
        "",
        |d, v| {
            d.options.repository.load_models.insert(v.to_owned());
            Ok(())
        },
        "Model to load at start-up in --model-control-mode=explicit. May be given several times; '*' alone means \
         all.",
    ),
    ready(
        "model-config-name",
        Text,
        "",
        config_name,
        "Read <model>/configs/<name>.pbtxt instead of <model>/config.pbtxt where it exists.",
    ),
    ready(
        "bare-model-name",
        Text,
        "",
        bare_model_name,
        "Name of a model that is a repository's path itself, with model.onnx or versions in it. Without it, the config's \
         name counts, else the file's or the folder's.",
    )
    .own(),
    ready(
        "model-load-thread-count",
        Integer,
        "4",
        |d, v| {
            put(&mut d.options.repository.load_threads, value::integer::<u32>(v).map(|n| n.max(1) as usize))
        },
        "Models that are loaded at the same time.",
    ),
    ready(
        "model-load-retry-count",
        Integer,
        "0",
        |d, v| put(&mut d.options.repository.load_retries, value::integer(v)),
        "How often the load of a model is tried again after it failed.",
    ),
    ready(
        "model-namespacing",
        Boolean,
        "false",
        |d, v| put(&mut d.options.repository.namespacing, value::boolean(v)),
        "Serve models of the same name from different repositories.",
    ),
    not_yet(
        "enable-peer-access",
        Boolean,
        "true",
        is::boolean,
        "Let GPUs read one another's memory where the hardware can.",
    ),
];

fn repository(draft: &mut Draft, text: &str) -> value::Result<()> {
    let paths = &mut draft.options.repository.paths;
    if !paths.iter().any(|p| p == text) {
        paths.push(text.to_owned());
    }
    Ok(())
}

fn control_mode(draft: &mut Draft, text: &str) -> value::Result<()> {
    let mode =
        value::choice(text, &["none", "poll", "explicit"], "invalid argument for --model-control-mode")?;
    draft.options.repository.control_mode = match mode {
        "explicit" => ModelControlMode::Explicit,
        "poll" => ModelControlMode::Poll,
        _ => ModelControlMode::None,
    };
    Ok(())
}

fn ready_when(draft: &mut Draft, text: &str) -> value::Result<()> {
    let wrong = "invalid argument for --ready-when: it is one of all, startup, any, server";
    draft.ready_when = Some(match value::choice(text, &["all", "startup", "any", "server"], wrong)? {
        "startup" => ReadyWhen::Startup,
        "any" => ReadyWhen::Any,
        "server" => ReadyWhen::Server,
        _ => ReadyWhen::All,
    });
    Ok(())
}

fn bare_model_name(draft: &mut Draft, text: &str) -> value::Result<()> {
    if text.is_empty() || text.starts_with('.') || text.contains(['/', '\\', '\0']) {
        return Err(format!("Error: --bare-model-name must be a model's name, not '{text}'"));
    }
    draft.options.repository.bare_model_name = Some(text.to_owned());
    Ok(())
}

fn config_name(draft: &mut Draft, text: &str) -> value::Result<()> {
    if text.is_empty() {
        return Err("Error: empty argument for --model-config-name".to_owned());
    }
    draft.options.repository.config_name = Some(text.to_owned());
    Ok(())
}
