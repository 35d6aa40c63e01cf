//! Test hooks of Triton's: no batch before so many requests wait. Pure.

/// How long batches are held back.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    /// Requests that must wait in slots; 0 for normal service.
    queued: usize,
    /// Requests that must wait in the backlog besides.
    backlogged: usize,
    /// By instance.
    held: Vec<bool>,
}

impl Hold {
    pub(crate) fn new(queued: usize, backlogged: usize, instances: usize) -> Self {
        Self { queued, backlogged, held: vec![queued > 0; instances] }
    }

    /// Whether any instance is held back.
    pub(crate) fn is_on(&self) -> bool {
        self.held.contains(&true)
    }

    /// Whether `instance` is.
    pub(crate) fn holds(&self, instance: usize) -> bool {
        self.held[instance]
    }

    /// Lets every instance go if so many requests wait.
    pub(crate) fn release_all(&mut self, queued: usize, backlogged: usize) {
        if queued >= self.queued && backlogged >= self.backlogged {
            self.held.fill(false);
        }
    }

    /// Lets `instance` go if so many requests wait for it.
    pub(crate) fn release(&mut self, instance: usize, queued: usize) {
        self.held[instance] &= queued < self.queued;
    }
}
