//! What to do when an execution provider cannot be loaded because a library is missing that it needs.

use nereid_core::Error;

/// `error`, or one that says more, if it is about a library that the loader has not found for the execution provider
/// `provider`.
pub(crate) fn explain(provider: &str, error: Error) -> Error {
    let Some(library) = missing(error.message()) else { return error };
    let advice = match brought_by(library) {
        Some(source) => format!(
            "which comes with {source}: install it where the system's loader looks, or name its folder in \
             LD_LIBRARY_PATH"
        ),
        None if library.starts_with("libonnxruntime_") => {
            "which belongs beside libonnxruntime.so and comes with the GPU build of ONNX Runtime".to_owned()
        }
        None => "which the system's loader must find; LD_LIBRARY_PATH names folders to look in".to_owned(),
    };
    Error::unavailable(format!(
        "unable to load the {provider} execution provider of ONNX Runtime: it needs '{library}', {advice}"
    ))
}

/// The library in a message of the loader, which ONNX Runtime passes on.
fn missing(message: &str) -> Option<&str> {
    let (before, _) = message.split_once(": cannot open shared object file")?;
    let library = before.rsplit([' ', '/']).next()?;
    library.contains(".so").then_some(library)
}

/// What brings `library`, with its version.
fn brought_by(library: &str) -> Option<String> {
    let (name, version) = library.split_once(".so")?;
    let version = version.trim_start_matches('.').split('.').next().unwrap_or_default();
    let of = |product: &str| Some(format!("{product} {version}").trim_end().to_owned());
    match name {
        "libcuda" => Some("the driver of NVIDIA".to_owned()),
        "libcublas" | "libcublasLt" | "libcudart" | "libnvrtc" => of("CUDA"),
        // Numbered on their own.
        "libcufft" | "libcurand" | "libnvJitLink" => Some("CUDA".to_owned()),
        name if name.starts_with("libcudnn") => of("cuDNN"),
        name if name.starts_with("libnvinfer") || name.starts_with("libnvonnxparser") => of("TensorRT"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(loader: &str, expected: &str) {
        let text = format!(
            "onnx runtime error 1: /onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:2043 \
             onnxruntime::Provider& onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load \
             library /opt/libonnxruntime_providers_cuda.so with error: {loader}\n"
        );
        let error = explain("CUDA", Error::internal(text.clone()));
        match expected {
            "" => assert_eq!(error, Error::internal(text)),
            expected => assert_eq!(
                error.with_code(),
                format!(
                    "Unavailable: unable to load the CUDA execution provider of ONNX Runtime: it needs {expected}"
                )
            ),
        }
    }

    #[test]
    fn what_is_missing_and_where_it_comes_from() {
        let no_file =
            |library: &str| format!("{library}: cannot open shared object file: No such file or directory");
        let installed = |library: &str, source: &str| {
            check(
                &no_file(library),
                &format!(
                    "'{library}', which comes with {source}: install it where the system's loader looks, or name its \
                     folder in LD_LIBRARY_PATH"
                ),
            );
        };
        installed("libcublasLt.so.13", "CUDA 13");
        installed("libcurand.so.10", "CUDA");
        installed("libcudnn.so.9", "cuDNN 9");
        installed("libnvinfer.so.10", "TensorRT 10");
        installed("libcuda.so.1", "the driver of NVIDIA");
        check(
            &no_file("/opt/libonnxruntime_providers_shared.so"),
            "'libonnxruntime_providers_shared.so', which belongs beside libonnxruntime.so and comes with the GPU build of \
             ONNX Runtime",
        );
        check(
            &no_file("libodd.so"),
            "'libodd.so', which the system's loader must find; LD_LIBRARY_PATH names folders to look in",
        );
        check("libcublas.so.13: undefined symbol: x", "");
        check("odd: cannot open shared object file", "");
    }
}
