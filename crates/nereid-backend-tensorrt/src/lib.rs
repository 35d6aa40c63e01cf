//! TensorRT backend: engines (model.plan) on GPUs.
