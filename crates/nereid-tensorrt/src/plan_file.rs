//! What a file that is not a plan is instead. It does not say whether a plan is sound: TensorRT does.

/// The words that finish "it is …", for content that certainly is no plan.
pub(crate) fn certainly(content: &[u8]) -> Option<&'static str> {
    match content {
        [] => Some("empty"),
        // ModelProto: its first field is ir_version; the next is one of the producer's, the graph or the operator sets.
        [0x08, 1..=31, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..] => {
            Some("an ONNX model, not a TensorRT plan: build one from it with `nereid trt-build`")
        }
        [b'P', b'K', 3 | 5, 4 | 6, ..] => {
            Some("a zip archive (as PyTorch saves models), not a TensorRT plan")
        }
        [0x1f, 0x8b, ..] => Some("compressed by gzip: unpack it"),
        [0x7f, b'E', b'L', b'F', ..] => Some("a program or shared library, not a TensorRT plan"),
        _ if content.starts_with(b"version https://git-lfs") => {
            Some("a pointer of Git LFS to a file that was not downloaded: fetch it with `git lfs pull`")
        }
        _ => None,
    }
}

/// The same for content that TensorRT refused.
pub(crate) fn probably(content: &[u8]) -> Option<&'static str> {
    const LOOKED_AT: usize = 512;
    let start = content.get(..LOOKED_AT).unwrap_or(content);
    let text = start.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~'));
    text.then_some("text, not a TensorRT plan")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certain() {
        for (content, expected) in [
            (&b""[..], "empty"),
            (b"\x08\x07\x12\x07pytorch", "an ONNX model"),
            (b"\x08\x0a:\x80\x01", "an ONNX model"),
            (b"PK\x03\x04rest", "a zip archive"),
            (b"\x1f\x8b\x08", "compressed by gzip"),
            (b"\x7fELF\x02", "a program"),
            (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        ] {
            let found = certainly(content);
            assert!(found.is_some_and(|text| text.starts_with(expected)), "{content:?}: {found:?}");
        }
        for content in [&b"ftrt\0\0\0\0"[..], b"\x08", b"\x08\x07", b"PK", b"\0\0\0\0", b"text"] {
            assert_eq!(certainly(content), None, "{content:?}");
        }
    }

    #[test]
    fn probable() {
        assert!(probably(b"name: \"model\"\n").is_some());
        assert!(probably(b"ftrt\0\0\0\0").is_none());
    }
}
