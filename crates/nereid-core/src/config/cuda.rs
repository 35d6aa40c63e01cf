//! What a config asks of instances on GPUs.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Priority of an instance's CUDA stream (`optimization.priority`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StreamPriority {
    #[default]
    Default,
    Highest,
    Lowest,
}

/// `optimization.cuda` of a config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CudaOptimization {
    /// Capture executions as CUDA graphs.
    pub graphs: bool,
    /// Wait for events in a loop rather than asleep.
    pub busy_wait_events: bool,
    /// Shapes to capture; empty leaves the choice to the backend.
    pub graph_specs: Vec<GraphSpec>,
    /// Copy outputs on a stream of their own.
    pub output_copy_stream: bool,
}

/// The shapes of one CUDA graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphSpec {
    pub shape: GraphShape,
    /// The smallest shapes that the graph serves as well, with rows and elements to spare; `None`: only its own.
    pub lower_bound: Option<GraphShape>,
}

/// Shapes of all inputs of an execution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphShape {
    /// Rows; 0 for a model that does not batch.
    pub batch_size: u32,
    /// By the name of the input: its shape without the batch dimension, or the values of a shape tensor.
    pub inputs: BTreeMap<Arc<str>, Vec<i64>>,
}
