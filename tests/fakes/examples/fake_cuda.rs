//! Stands in for the CUDA driver (`libcuda.so.1`) in host memory.
