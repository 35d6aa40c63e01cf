//! Stands in for TensorRT 11 (`libnvinfer.so.11`).
