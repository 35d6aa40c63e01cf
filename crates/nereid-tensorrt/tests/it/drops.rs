//! Whatever is dropped first, TensorRT's objects go in the right order, and none stays. The stand-in ends the process
//! when a parent goes before its children.

#![allow(unsafe_code, reason = "the stand-in is asked how many objects there are")]

use std::any::Any;
use std::path::Path;

use nereid_tensorrt::{AllocationStrategy, Runtime};

use crate::fixture::{ADD_SUB, Folder, MAJORS, device, load, plan};

/// Objects that the stand-in at `path` has made and not deleted.
pub(crate) fn live(path: &Path) -> usize {
    // SAFETY: a stand-in, which is loaded already.
    let library = unsafe { libloading::Library::new(path) }.expect("it is loaded");
    // SAFETY: its function of this name takes nothing and returns a number.
    let count = unsafe { library.get::<unsafe extern "C" fn() -> usize>(b"fake_live_objects") }
        .expect("it is a stand-in");
    // SAFETY: as above.
    unsafe { count() }
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in permutations(count - 1) {
        for place in 0..count {
            let mut longer = shorter.clone();
            longer.insert(place, count - 1);
            all.push(longer);
        }
    }
    all
}

#[test]
fn every_order() {
    assert_eq!(permutations(5).len(), 120);
    for major in MAJORS {
        let folder = Folder::new();
        let path = folder.add(major, "libnvinfer.so", "");
        for order in permutations(5) {
            let library = load(&path);
            let runtime = Runtime::new(&library, &device()).unwrap();
            let engine = runtime.deserialize(plan(ADD_SUB).as_bytes()).unwrap();
            let first = engine.create_context(AllocationStrategy::Static).unwrap();
            let second = engine.create_context(AllocationStrategy::OnProfileChange).unwrap();
            assert_eq!(live(&path), 4);
            let mut values: [Option<Box<dyn Any>>; 5] = [
                Some(Box::new(library)),
                Some(Box::new(runtime)),
                Some(Box::new(engine)),
                Some(Box::new(first)),
                Some(Box::new(second)),
            ];
            for index in order {
                values[index] = None;
            }
            assert_eq!(live(&path), 0);
        }
    }
}

#[test]
fn failures_leave_nothing() {
    for major in MAJORS {
        let folder = Folder::new();
        let path = folder.add(major, "libnvinfer.so", "");
        let runtime = Runtime::new(&load(&path), &device()).unwrap();
        for lines in ["in X 99 1\nout Y 0 1", "tensors 0", "op oom\nin X 0 1\nout Y 0 1"] {
            runtime.deserialize(plan(lines).as_bytes()).unwrap_err();
            assert_eq!(live(&path), 1, "{lines}");
        }
        let engine = runtime.deserialize(plan("op oom_context\nin X 0 1\nout Y 0 1").as_bytes()).unwrap();
        engine.create_context(AllocationStrategy::Static).unwrap_err();
        drop((engine, runtime));
        assert_eq!(live(&path), 0);
    }
}
