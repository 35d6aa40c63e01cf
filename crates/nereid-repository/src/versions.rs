//! Which versions of a model are on disk, and which of them its version policy wants.

use std::collections::BTreeSet;
use std::path::PathBuf;

use nereid_core::Result;
use nereid_protocol::inference::ModelVersionPolicy;
use nereid_protocol::inference::model_version_policy::PolicyChoice;

use crate::ModelId;
use crate::disk::{self, ModelDir};

/// Folders beside the versions that mean something else.
const OTHER_FOLDERS: [&str; 3] = ["warmup", "initial_state", "configs"];

/// Versions present in `dir`; every other folder is named in the log.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn on_disk(dir: &ModelDir) -> Result<BTreeSet<u64>> {
    if let Some(version) = dir.only_version() {
        return Ok(BTreeSet::from([version]));
    }
    let folders = disk::subdirectories(&dir.path)?;
    let folders = folders.iter().filter(|name| !OTHER_FOLDERS.contains(&name.as_str()));
    Ok(folders.filter_map(|name| parse(name)).collect())
}

/// The folder whose files tell the backend when the config does not: the first version by name, else
/// the first folder of any name.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn folder_to_inspect(dir: &ModelDir) -> Result<Option<PathBuf>> {
    if let Some(version) = dir.only_version() {
        return Ok(Some(dir.version(version)));
    }
    let mut folders = disk::subdirectories(&dir.path)?;
    folders.retain(|name| !OTHER_FOLDERS.contains(&name.as_str()));
    let version = folders.iter().find(|name| digits(name)).cloned();
    Ok(version.or_else(|| folders.pop_first()).map(|folder| dir.path.join(folder)))
}

/// Applies a version policy (`VersionsToLoad` in Triton's model_lifecycle.cc). No policy means the latest;
/// one that chooses nothing means all.
pub(crate) fn select(
    policy: Option<&ModelVersionPolicy>,
    present: &BTreeSet<u64>,
    model: &ModelId,
) -> BTreeSet<u64> {
    let latest = |count: u32| present.iter().rev().take(count as usize).copied().collect();
    let Some(policy) = policy else { return latest(1) };
    match &policy.policy_choice {
        None | Some(PolicyChoice::All(_)) => present.clone(),
        Some(PolicyChoice::Latest(policy)) => latest(policy.num_versions),
        Some(PolicyChoice::Specific(policy)) => {
            let wanted = policy.versions.iter().filter_map(|wanted| {
                let version = u64::try_from(*wanted).ok().filter(|v| present.contains(v));
                if version.is_none() {
                    tracing::error!(
                        "version {wanted} is specified for model '{model}', but the version directory is not present"
                    );
                }
                version
            });
            wanted.collect()
        }
    }
}

/// Whether `name` may be that of a version.
pub(crate) fn digits(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit())
}

fn parse(name: &str) -> Option<u64> {
    let why = if !digits(name) {
        "fails to convert to integral number"
    } else if name.len() > 1 && name.starts_with('0') {
        "contains leading zeros in its directory name"
    } else {
        // Clients and metrics carry versions as signed 64-bit numbers.
        match name.parse::<i64>() {
            Ok(version) => return u64::try_from(version).ok(),
            Err(_) => "is too large a number",
        }
    };
    tracing::warn!("ignore version directory '{name}' which {why}");
    None
}

#[cfg(test)]
mod tests {
    use nereid_protocol::inference::model_version_policy::{All, Latest, Specific};

    use super::*;

    #[test]
    fn names_of_versions() {
        for (name, expected) in [
            ("1", Some(1)),
            ("0", Some(0)),
            ("12", Some(12)),
            ("01", None),
            ("00", None),
            ("v1", None),
            ("1a", None),
            ("-1", None),
            ("", None),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
        ] {
            assert_eq!(parse(name), expected, "{name}");
        }
    }

    #[test]
    fn policies() {
        let present = BTreeSet::from([1, 3, 10]);
        let check = |choice: Option<PolicyChoice>, expected: &[u64]| {
            let policy = ModelVersionPolicy { policy_choice: choice };
            let selected = select(Some(&policy), &present, &ModelId::bare("m"));
            assert_eq!(selected.into_iter().collect::<Vec<_>>(), expected);
        };
        check(None, &[1, 3, 10]);
        check(Some(PolicyChoice::Latest(Latest { num_versions: 1 })), &[10]);
        check(Some(PolicyChoice::Latest(Latest { num_versions: 2 })), &[3, 10]);
        check(Some(PolicyChoice::Latest(Latest { num_versions: u32::MAX })), &[1, 3, 10]);
        check(Some(PolicyChoice::All(All {})), &[1, 3, 10]);
        check(Some(PolicyChoice::Specific(Specific { versions: vec![3, 9, -1, 1] })), &[1, 3]);
        check(Some(PolicyChoice::Specific(Specific { versions: vec![9] })), &[]);
        assert_eq!(select(None, &present, &ModelId::bare("m")), BTreeSet::from([10]));
    }
}
