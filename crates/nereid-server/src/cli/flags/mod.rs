//! The table of flags: names, kinds and order are Triton's (`SetupOptions` and `SetupOptionGroups` of
//! `command_line_parser.cc`, release 2.73), the words are ours; a few flags are Nereid's own. One row per flag; what a
//! flag does stands in its row, as a function on the [`Draft`].

mod deprecated;
mod endpoints;
mod resources;
mod server;
mod telemetry;

use nereid_repository::ReadyWhen;

use super::options::Options;
use super::trace::TraceDraft;
use super::value::Result;

/// The flag that asks for the usage.
pub(super) const HELP: &str = "help";

/// Groups in the order in which `--help` shows them.
pub(super) const GROUPS: &[Group] = &[
    Group { name: "", flags: server::GLOBAL },
    Group { name: "Server", flags: server::SERVER },
    Group { name: "Logging", flags: server::LOGGING },
    Group { name: "Model Repository", flags: server::REPOSITORY },
    Group { name: "HTTP", flags: endpoints::HTTP },
    Group { name: "GRPC", flags: endpoints::GRPC },
    Group { name: "Sagemaker", flags: endpoints::SAGEMAKER },
    Group { name: "Vertex", flags: endpoints::VERTEX },
    Group { name: "Metrics", flags: telemetry::METRICS },
    Group { name: "Tracing", flags: telemetry::TRACING },
    Group { name: "Backend", flags: resources::BACKEND },
    Group { name: "Repository Agent", flags: resources::REPOSITORY_AGENT },
    Group { name: "Response Cache", flags: resources::CACHE },
    Group { name: "Rate Limiter", flags: resources::RATE_LIMITER },
    Group { name: "Memory/Device Management", flags: resources::MEMORY_DEVICE },
    Group { name: "Shared Memory", flags: resources::SHARED_MEMORY },
    Group { name: "DEPRECATED", flags: deprecated::DEPRECATED },
];

/// Flags that belong together.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) flags: &'static [Flag],
}

/// One flag.
pub(super) struct Flag {
    /// Without the dashes.
    pub(super) name: &'static str,
    pub(super) value: Value,
    /// As `--help` shows it; empty when there is nothing to say.
    pub(super) default: &'static str,
    pub(super) help: &'static str,
    /// Takes the value over, or refuses it.
    pub(super) apply: Apply,
    /// Nereid does what the flag asks for.
    pub(super) ready: bool,
    /// Triton does not have the flag.
    pub(super) own: bool,
    /// What to use instead.
    pub(super) deprecated: Option<&'static str>,
}

type Apply = fn(&mut Draft, &str) -> Result<()>;

/// Kind of a flag's value. `Boolean` and `Level` may stand bare, which means true.
#[derive(Clone, Copy)]
pub(super) enum Value {
    None,
    Boolean,
    /// An integer, or a boolean for 1 and 0.
    Level,
    Integer,
    Number,
    Text,
    /// Any other form, such as `<string>=<string>`, without the outer angle brackets.
    Form(&'static str),
}

/// Options on their way, and what only the whole command line can settle.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) options: Options,
    pub(super) warnings: Vec<String>,
    pub(super) disable_auto_complete: bool,
    pub(super) strict_model_config: Option<bool>,
    pub(super) strict_readiness: Option<bool>,
    pub(super) ready_when: Option<ReadyWhen>,
    pub(super) metrics_address: Option<String>,
    pub(super) cache_config: bool,
    pub(super) response_cache_byte_size: bool,
    pub(super) trace: TraceDraft,
}

/// All flags, in order.
pub(super) fn all() -> impl Iterator<Item = &'static Flag> {
    GROUPS.iter().flat_map(|group| group.flags)
}

impl Value {
    /// What stands in angle brackets behind the flag.
    pub(super) fn placeholder(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Boolean => Some("boolean"),
            Self::Level | Self::Integer => Some("integer"),
            Self::Number => Some("float"),
            Self::Text => Some("string"),
            Self::Form(form) => Some(form),
        }
    }
}

impl Draft {
    /// Adds a warning, unless it is there already.
    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        let warning = warning.into();
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Says what the user should know about `flag` itself.
    pub(super) fn warn_of(&mut self, flag: &Flag) {
        if let Some(instead) = flag.deprecated {
            self.warn(format!("'--{}' has been deprecated! Please use '{instead}' instead.", flag.name));
        }
        if !flag.ready {
            self.warn(format!("'--{}' is not supported yet and has no effect.", flag.name));
        }
    }
}

/// A flag that works.
const fn ready(
    name: &'static str,
    value: Value,
    default: &'static str,
    apply: Apply,
    help: &'static str,
) -> Flag {
    Flag { name, value, default, help, apply, ready: true, own: false, deprecated: None }
}

/// A flag whose feature does not exist yet; `check` looks at its value.
const fn not_yet(
    name: &'static str,
    value: Value,
    default: &'static str,
    check: Apply,
    help: &'static str,
) -> Flag {
    Flag { name, value, default, help, apply: check, ready: false, own: false, deprecated: None }
}

impl Flag {
    const fn own(mut self) -> Self {
        self.own = true;
        self
    }

    const fn deprecated(mut self, instead: &'static str) -> Self {
        self.deprecated = Some(instead);
        self
    }
}

/// Takes a value over; the shape of almost every row.
fn put<T>(place: &mut T, value: Result<T>) -> Result<()> {
    *place = value?;
    Ok(())
}

/// Checks for flags that are not there yet.
mod is {
    use super::super::value;
    use super::{Draft, Result};

    pub(super) fn anything(_: &mut Draft, _: &str) -> Result<()> {
        Ok(())
    }

    pub(super) fn boolean(_: &mut Draft, text: &str) -> Result<()> {
        value::boolean(text).map(drop)
    }

    pub(super) fn integer(_: &mut Draft, text: &str) -> Result<()> {
        value::integer::<i32>(text).map(drop)
    }
}
