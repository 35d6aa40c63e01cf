//! The CUDA driver, loaded when it is there: memory, streams, graphs; and the same in host memory for tests.
