//! Stands in for TensorRT 10 (`libnvinfer.so.10`).
