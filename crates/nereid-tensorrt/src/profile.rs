//! Optimisation profiles: the shapes that an engine was built for. Plain data, read once.

/// One optimisation profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Every input of the engine, in the engine's order.
    pub inputs: Vec<ProfileInput>,
}

/// The shapes of one input under one profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileInput {
    pub name: String,
    /// Smallest, best and largest shape, each with the batch dimension. For an input whose shape does not vary all three
    /// are its shape.
    pub min: Vec<i64>,
    pub opt: Vec<i64>,
    pub max: Vec<i64>,
    /// Smallest, best and largest values of a shape tensor, in this order; `None` for other inputs.
    pub values: Option<[Vec<i64>; 3]>,
}
