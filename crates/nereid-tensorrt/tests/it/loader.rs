//! Which library is taken, and what is said when none is.

use std::path::Path;

use nereid_tensorrt::{Family, Flavor, Library, LoadOptions};

use crate::fixture::{Folder, MAJORS, load, options, path};

#[test]
fn both_families() {
    for (major, family, version) in [(10, Family::V10, "10.16.1.11"), (11, Family::V11, "11.4.0.1")] {
        let library = load(&path(major));
        assert_eq!((library.family(), library.flavor()), (family, Flavor::Full));
        assert_eq!(library.version().to_string(), version);
        assert_eq!(library.path(), path(major));
    }
}

#[test]
fn the_newer_and_the_whole_one_come_first() {
    let folder = Folder::new();
    let names = [
        ("libtensorrt_rtx.so.1", 11, "version 1.7.0.1"),
        ("libnvinfer_lean.so.10", 10, ""),
        ("libnvinfer_lean.so.11", 11, ""),
        ("libnvinfer.so.10", 10, ""),
        ("libnvinfer.so.11", 11, ""),
    ];
    assert!(Library::load(&options(folder.path())).is_err());
    for (name, major, behaviour) in names {
        folder.add(major, name, behaviour);
        let options = LoadOptions { allow_rtx: true, ..options(folder.path()) };
        assert_eq!(Library::load(&options).unwrap().path(), folder.path().join(name));
    }
    let ten = LoadOptions { major: Some(10), ..options(folder.path()) };
    assert_eq!(Library::load(&ten).unwrap().path(), folder.path().join("libnvinfer.so.10"));
}

#[test]
fn tensorrt_rtx_is_taken_when_it_is_asked_for() {
    let folder = Folder::new();
    let path = folder.add(11, "libtensorrt_rtx.so.1", "version 1.7.0.1");
    assert!(Library::load(&options(folder.path())).is_err(), "the folder alone does not ask for it");
    for options in [options(&path), LoadOptions { allow_rtx: true, ..options(folder.path()) }] {
        let library = Library::load(&options).unwrap();
        assert_eq!((library.flavor(), library.family()), (Flavor::Rtx, Family::V11));
    }
    let old = Folder::new();
    let error = Library::load(&options(&old.add(11, "libtensorrt_rtx.so.1", "version 1.4.0.1"))).unwrap_err();
    assert!(error.to_string().contains("TensorRT-RTX 1.4.0.1, but"), "{error}");
}

#[test]
fn every_path_is_listed_with_its_reason() {
    let folder = Folder::new();
    folder.add(11, "libnvinfer.so.11", "version 12.0.0.1");
    std::fs::write(folder.path().join("libnvinfer.so.10"), "no library").unwrap();
    folder.add(10, "libnvinfer_lean.so.10", "version 9.3.0.1");
    let error = Library::load(&options(folder.path())).unwrap_err();
    let names: Vec<_> =
        error.tried.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
    let expected = ["libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer_lean.so.11", "libnvinfer_lean.so.10"];
    assert_eq!(names, expected);
    for (reason, expected) in error.tried.iter().map(|(_, reason)| reason).zip([
        "it is TensorRT 12.0.0.1, which is newer than this server knows: install TensorRT 10 or 11",
        "file too short",
        "cannot open shared object file",
        "it is TensorRT 9.3.0.1, which is too old: install TensorRT 10 or 11",
    ]) {
        assert!(reason.contains(expected), "{reason}");
    }
    let text = error.to_string();
    assert!(text.starts_with("unable to load TensorRT: install libnvinfer 10 or 11"), "{text}");
    assert!(text.contains("TENSORRT_LIB") && text.contains("libnvinfer_lean.so.11' ("), "{text}");
}

/// What Triton's older images have.
#[test]
fn tensorrt_8_is_refused_by_name() {
    let folder = Folder::new();
    let error = Library::load(&options(&folder.add(10, "libnvinfer.so.8", "version 8.6.1.6"))).unwrap_err();
    assert!(error.to_string().contains("it is TensorRT 8.6.1.6, which is too old"), "{error}");
}

#[test]
fn a_newer_minor_version_is_taken() {
    let folder = Folder::new();
    let library = load(&folder.add(10, "libnvinfer.so.10", "version 10.99.0.1"));
    assert_eq!(library.version().minor, 99);
}

#[test]
fn a_library_without_the_functions() {
    let error = Library::load(&options(&nereid_fakes::library("fake_nvml"))).unwrap_err();
    assert!(error.to_string().contains("it does not export getInferLibVersion"), "{error}");
    let error = Library::load(&options(Path::new("/nowhere/libnvinfer.so.11"))).unwrap_err();
    assert_eq!(error.tried.len(), 1);
}

#[test]
fn plugins() {
    for major in MAJORS {
        let folder = Folder::new();
        let library = load(&folder.add(major, &format!("libnvinfer.so.{major}"), ""));
        assert!(!library.load_standard_plugins(), "there are none beside it");
        folder.add(major, &format!("libnvinfer_plugin.so.{major}"), "");
        assert!(library.load_standard_plugins());

        let refused = folder.add(major, "libmine.so", "plugins false");
        let error = library.load_plugins(&refused).unwrap_err().to_string();
        assert!(error.contains("libmine.so") && error.contains("plugins could not be registered"), "{error}");
        let error = library.load_plugins(&folder.path().join("absent.so")).unwrap_err().to_string();
        assert!(error.contains("absent.so' (cannot open shared object file"), "{error}");
        library
            .load_plugins(&nereid_fakes::library("fake_nvml"))
            .expect("one that registers itself when it is loaded");
    }
}
