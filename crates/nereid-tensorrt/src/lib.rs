//! TensorRT 10 and 11 through their C++ vtables, loaded at run time.
