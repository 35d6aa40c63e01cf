//! Where the control groups of the process are: its own group of a controller first, then the groups around it as far as
//! they can be seen from here.

use std::path::{Component, Path, PathBuf};

/// A process without a container of its own sees few groups around it; one that sees more is led in circles.
const MOST_GROUPS: usize = 64;

/// The two interfaces of the kernel, whose files have different names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// The groups that limit the process, by their directories, which need not exist: innermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Groups {
    pub(super) version: Version,
    pub(super) directories: Vec<PathBuf>,
}

/// The groups of `controller`, such as `cpu`, from the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`. A controller
/// that has a hierarchy of version 1 is there, whatever else is mounted.
pub(super) fn groups(controller: &str, memberships: &str, mounts: &str) -> Option<Groups> {
    let (version, path) = membership(controller, memberships)?;
    let mounts = mounts.lines().filter_map(Mount::parse);
    let mounts: Vec<_> = mounts.filter(|mount| mount.has(version, controller)).collect();
    let within = |mount: &&Mount| inside(path, &mount.root).is_some();
    let mount = mounts.iter().find(within).or(mounts.first())?;
    // A path that is not below what is mounted is that of the machine, seen from a container that sees only itself.
    let inner = inside(path, &mount.root).unwrap_or_default();
    let own = mount.point.join(inner);
    let directories = own.ancestors().take_while(|directory| directory.starts_with(&mount.point));
    Some(Groups { version, directories: directories.take(MOST_GROUPS).map(Path::to_path_buf).collect() })
}

/// `hierarchy:controllers:path`, or `0::path` for version 2.
fn membership<'a>(controller: &str, memberships: &'a str) -> Option<(Version, &'a str)> {
    let mut unified = None;
    for line in memberships.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if controllers.is_empty() {
            unified = Some((Version::V2, path));
        } else if controllers.split(',').any(|name| name == controller) {
            return Some((Version::V1, path));
        }
    }
    unified
}

/// `path` relative to `root`, unless it is outside.
fn inside(path: &str, root: &str) -> Option<PathBuf> {
    let inner = Path::new(path).strip_prefix(root).ok()?;
    inner.components().all(|part| matches!(part, Component::Normal(_))).then(|| inner.to_path_buf())
}

/// A mounted hierarchy.
struct Mount {
    /// The group that is seen at `point`.
    root: String,
    point: PathBuf,
    kind: String,
    options: String,
}

impl Mount {
    /// `id parent major:minor root point options [fields] - kind source options`.
    fn parse(line: &str) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let mut kind = kind.split(' ');
        Some(Self {
            root: unescaped(place.next()?),
            point: unescaped(place.next()?).into(),
            kind: kind.next()?.to_owned(),
            options: kind.nth(1).unwrap_or_default().to_owned(),
        })
    }

    fn has(&self, version: Version, controller: &str) -> bool {
        match version {
            Version::V1 => {
                self.kind == "cgroup" && self.options.split(',').any(|option| option == controller)
            }
            Version::V2 => self.kind == "cgroup2",
        }
    }
}

/// Blanks and the like are written as a backslash and three octal digits.
fn unescaped(field: &str) -> String {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let [first, behind @ ..] = rest {
        let octal = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok();
        match (first, behind.get(..3).and_then(octal)) {
            (b'\\', Some(byte)) => (plain.push(byte), rest = &behind[3..]).1,
            _ => (plain.push(*first), rest = behind).1,
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "\
        31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime master:3 - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    fn check(controller: &str, memberships: &str, mounts: &str, expected: Option<(Version, &[&str])>) {
        let found = groups(controller, memberships, mounts);
        let expected = expected.map(|(version, directories)| Groups {
            version,
            directories: directories.iter().map(PathBuf::from).collect(),
        });
        assert_eq!(found, expected, "{controller} of {memberships:?}");
    }

    #[test]
    fn version_2() {
        use Version::V2 as Two;
        check("cpu", "0::/\n", V2, Some((Two, &["/sys/fs/cgroup"])));
        let nested: &[_] = &["/sys/fs/cgroup/a.slice/b", "/sys/fs/cgroup/a.slice", "/sys/fs/cgroup"];
        check("memory", "0::/a.slice/b\n", V2, Some((Two, nested)));
        // A path outside of the namespace, and one of the machine where only the container's group is mounted.
        check("cpu", "0::/../../x\n", V2, Some((Two, &["/sys/fs/cgroup"])));
        let own = "9 1 0:1 /kubepods/pod1/c /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        check("cpu", "0::/kubepods/pod1/c\n", own, Some((Two, &["/sys/fs/cgroup"])));
        check("cpu", "0::/kubepods/pod1/c/d\n", own, Some((Two, &["/sys/fs/cgroup/d", "/sys/fs/cgroup"])));
        check("cpu", "0::/elsewhere\n", own, Some((Two, &["/sys/fs/cgroup"])));
    }

    #[test]
    fn version_1_and_both() {
        use Version::{V1 as One, V2 as Two};
        let memberships = "4:memory:/docker/x\n2:cpu,cpuacct:/\n1:name=systemd:/docker/x\n0::/init.scope\n";
        check("cpu", memberships, V1, Some((One, &["/sys/fs/cgroup/cpu,cpuacct"])));
        let memory: &[_] =
            &["/sys/fs/cgroup/memory/docker/x", "/sys/fs/cgroup/memory/docker", "/sys/fs/cgroup/memory"];
        check("memory", memberships, V1, Some((One, memory)));
        let io: &[_] = &["/sys/fs/cgroup/unified/init.scope", "/sys/fs/cgroup/unified"];
        check("io", memberships, V1, Some((Two, io)));
        // As in a container without a namespace of groups: what is mounted is the container's own group.
        let own = "7 1 0:1 /docker/x /cg/memory ro - cgroup cgroup rw,memory\n";
        check("memory", memberships, own, Some((One, &["/cg/memory"])));
    }

    #[test]
    fn what_is_not_there() {
        check("cpu", "", V2, None);
        check("cpu", "4:memory:/\n", V1, None);
        check("cpu", "2:cpu:/\n", V2, None); // its hierarchy is not mounted
        check("cpu", "0::/\n", "", None);
        check("cpu", "nonsense\n2:cpu\n\n", V1, None);
        check("cpu", "0::/\n", "31 23 0:28 /\n - \n1 2 3 4 5 - cgroup2\n", Some((Version::V2, &["5"])));
    }

    #[test]
    fn the_mount_that_has_the_group_counts() {
        let mounts =
            "1 1 0:1 /other /a rw - cgroup2 c rw\n1 1 0:1 /mine /with\\040blank\\134 rw - cgroup2 c rw\n";
        let expected: &[_] = &["/with blank\\/x", "/with blank\\"];
        check("cpu", "0::/mine/x\n", mounts, Some((Version::V2, expected)));
    }
}
