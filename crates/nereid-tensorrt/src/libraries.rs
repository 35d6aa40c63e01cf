//! The TensorRTs of this machine: a plan built by one major version can be run by it only, so the other is tried too.

use std::fmt;
use std::sync::Arc;

use nereid_cuda::Device;
use parking_lot::Mutex;

use crate::engine::Engine;
use crate::error::TensorRtError;
use crate::library::{Library, LoadError, LoadOptions};
use crate::runtime::Runtime;

/// Major versions that can be loaded beside the preferred library.
const MAJORS: [i32; 2] = [11, 10];

/// One library for each major version, loaded when it is first needed and used by every model.
#[derive(Debug, Default)]
pub struct Libraries {
    options: LoadOptions,
    loaded: Mutex<Vec<Arc<Library>>>,
}

/// Why there is no engine of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanError {
    /// There is no TensorRT.
    Load(LoadError),
    /// The library with this name and version refused the plan, and so did every other.
    Refused { by: String, error: TensorRtError, others: Vec<(String, TensorRtError)> },
}

impl Libraries {
    /// Those that `options` lead to.
    pub fn new(options: LoadOptions) -> Self {
        Self { options, loaded: Mutex::default() }
    }

    /// The preferred library.
    ///
    /// # Errors
    /// There is none. It is looked for again at the next call.
    pub fn first(&self) -> Result<Arc<Library>, LoadError> {
        let mut loaded = self.loaded.lock();
        if let Some(library) = loaded.first() {
            return Ok(Arc::clone(library));
        }
        let library = Library::load(&self.options)?;
        loaded.push(Arc::clone(&library));
        Ok(library)
    }

    /// The engine of `plan` on `device`. `configure` sets up the runtime that reads it.
    ///
    /// # Errors
    /// There is no TensorRT, or none that takes the plan.
    pub fn deserialize(
        &self,
        plan: &[u8],
        device: &Arc<dyn Device>,
        configure: &dyn Fn(&Runtime),
    ) -> Result<Arc<Engine>, PlanError> {
        let first = self.first().map_err(PlanError::Load)?;
        let error = match deserialize(&first, plan, device, configure) {
            Ok(engine) => return Ok(engine),
            Err(error) => error,
        };
        let mut others = Vec::new();
        if error.is_version_mismatch() {
            for major in MAJORS.into_iter().filter(|major| *major != first.version().major) {
                let Some(library) = self.of_major(major) else { continue };
                match deserialize(&library, plan, device, configure) {
                    Ok(engine) => return Ok(engine),
                    Err(error) => others.push((name(&library), error)),
                }
            }
        }
        Err(PlanError::Refused { by: name(&first), error, others })
    }

    fn of_major(&self, major: i32) -> Option<Arc<Library>> {
        let mut loaded = self.loaded.lock();
        if let Some(library) = loaded.iter().find(|library| library.version().major == major) {
            return Some(Arc::clone(library));
        }
        let options = LoadOptions { major: Some(major), ..self.options.clone() };
        let library = Library::load(&options).ok()?;
        loaded.push(Arc::clone(&library));
        Some(library)
    }
}

fn deserialize(
    library: &Arc<Library>,
    plan: &[u8],
    device: &Arc<dyn Device>,
    configure: &dyn Fn(&Runtime),
) -> Result<Arc<Engine>, TensorRtError> {
    let runtime = Runtime::new(library, device)?;
    configure(&runtime);
    runtime.deserialize(plan)
}

fn name(library: &Library) -> String {
    format!("{} {}", library.flavor().name(), library.version())
}

impl std::error::Error for PlanError {}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => error.fmt(f),
            Self::Refused { by, error, others } => {
                write!(f, "{by}: {error}")?;
                for (other, error) in others {
                    write!(f, "; {other}: {error}")?;
                }
                if error.is_version_mismatch() {
                    write!(
                        f,
                        ". The plan was built by another version of TensorRT than {}: build it again with that, or install \
                         the version that it was built with",
                        if others.is_empty() { "the installed one" } else { "those installed" }
                    )?;
                }
                Ok(())
            }
        }
    }
}
