//! What counts as a change of a directory, and of a version.

use std::os::unix::fs::symlink;

use super::*;
use crate::disk::Root;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for file in ["1/model.onnx", "2/model.onnx", "2/deep/er/weights", "config.pbtxt", "labels.txt"] {
            folder.write(file, "one");
        }
        folder
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join("m").join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn dir(&self) -> ModelDir {
        Root::open(self.0.path(), &crate::Options::default()).unwrap().model("m").unwrap().unwrap()
    }

    fn settled(&self) -> Fingerprint {
        Fingerprint::take(&self.dir()).unwrap().settle(&self.dir()).unwrap()
    }

    /// Versions 1 and 2, as far as they are the same after `change`; `None` if nothing has changed at all.
    fn after(&self, change: impl FnOnce(&Self)) -> Option<(bool, bool)> {
        let before = self.settled();
        change(self);
        let now = Fingerprint::take(&self.dir()).unwrap();
        let same = |version| before.same_version(&now, version, OsStr::new("config.pbtxt"));
        (before != now).then(|| (same(1), same(2)))
    }
}

#[test]
fn changes() {
    type Change = fn(&Folder);
    let cases: [(Change, Option<(bool, bool)>); 11] = [
        (|_| {}, None),
        (|f| drop(fs::read(f.path("1/model.onnx")).unwrap()), None),
        (|f| f.write("1/model.onnx", "two"), Some((false, true))),
        (|f| f.write("2/deep/er/weights", "two"), Some((true, false))),
        (|f| f.write("config.pbtxt", "two"), Some((true, true))),
        (|f| f.write("labels.txt", "two"), Some((false, false))),
        (|f| f.write("3/model.onnx", "two"), Some((true, true))),
        (|f| f.write("new.txt", "two"), Some((false, false))),
        (|f| fs::remove_file(f.path("labels.txt")).unwrap(), Some((false, false))),
        (|f| fs::rename(f.path("2"), f.path("4")).unwrap(), Some((true, false))),
        (
            |f| {
                // The same name, size and times, as `cp --preserve` and `mv` leave them.
                let (old, new) = (f.path("1/model.onnx"), f.path("copy"));
                let times = fs::metadata(&old).unwrap();
                fs::write(&new, "two").unwrap();
                fs::File::open(&new).unwrap().set_modified(times.modified().unwrap()).unwrap();
                fs::rename(new, old).unwrap();
            },
            Some((false, true)),
        ),
    ];
    for (index, (change, expected)) in cases.into_iter().enumerate() {
        assert_eq!(Folder::new().after(change), expected, "case {index}");
    }
}

/// An edit right after another may have its times.
#[test]
fn edits_in_quick_succession() {
    let folder = Folder::new();
    for round in 0..20 {
        let text = if round % 2 == 0 { "odd" } else { "two" };
        assert_eq!(folder.after(|f| f.write("1/model.onnx", text)), Some((false, true)));
    }
}

#[test]
fn an_edit_is_over_when_the_clock_has_moved_on() {
    let folder = Folder::new();
    let mut look = Fingerprint::take(&folder.dir()).unwrap();
    let edit = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let stamps = look.entries.values_mut().flat_map(BTreeMap::values_mut).chain([&mut look.own]);
    for (index, stamp) in stamps.enumerate() {
        stamp.modified = (i64::MAX, 0); // anybody may set it
        stamp.changed = match index {
            0 => (i64::MAX, 0),
            1 => (1_000, 0),
            _ => (0, 0),
        };
    }
    for (since, expected) in [(0, Some(20)), (5, Some(15)), (19, Some(1)), (20, None), (1000, None)] {
        let rest = look.unsettled(edit + Duration::from_millis(since));
        assert_eq!(rest, expected.map(Duration::from_millis));
    }
    assert_eq!(look.unsettled(edit - Duration::from_millis(1)), None, "another machine's clock");
}

/// Two links in each of so many folders, both to the next one: a path for every number of so many bits.
#[test]
fn links_that_fan_out() {
    let folder = Folder::new();
    for level in 0..40 {
        let path = folder.path(&format!("1/{level}"));
        fs::create_dir(&path).unwrap();
        for link in ["a", "b"] {
            symlink(format!("../{}", level + 1), path.join(link)).unwrap();
        }
    }
    fs::create_dir(folder.path("1/40")).unwrap();
    assert_eq!(folder.after(|_| ()), None);
    assert_eq!(folder.after(|f| f.write("1/40/weights", "two")), Some((false, true)));
}

#[test]
fn links() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "one").unwrap();
    let folder = Folder::new();
    symlink("..", folder.path("1/loop")).unwrap();
    symlink(folder.path("1"), folder.path("1/self")).unwrap();
    symlink("nowhere", folder.path("dangling")).unwrap();
    symlink(outside.path(), folder.path("outside")).unwrap();
    fs::create_dir(folder.0.path().join("shared")).unwrap();
    symlink("../../shared", folder.path("2/shared")).unwrap();
    assert_eq!(folder.after(|_| ()), None);
    let shared = folder.0.path().join("shared/weights");
    assert_eq!(folder.after(|_| fs::write(shared, "two").unwrap()), Some((true, false)));
    let edit_outside = |_: &Folder| fs::write(outside.path().join("file"), "two").unwrap();
    assert_eq!(folder.after(edit_outside), None, "what is outside is not looked at");
}
