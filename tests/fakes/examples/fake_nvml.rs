//! Stands in for the management library (`libnvidia-ml.so.1`).
