//! Names of the classes of an output, read from the label files that a config names. Line N is class N.

use std::collections::HashMap;
use std::sync::Arc;

use nereid_core::{Error, Result};
use nereid_protocol::inference::ModelOutput;

use crate::disk::{self, ModelDir};

/// The labels of every output of a model.
#[derive(Debug, Default)]
pub struct Labels {
    /// By position of the output in the config; `None` where it names no file.
    by_output: Vec<Option<Arc<Lines>>>,
}

/// A label file: its text and where in it each line ends. Four bytes a line, because lines may be many and empty.
#[derive(Debug)]
struct Lines {
    text: Box<str>,
    /// Offsets behind the line break.
    ends: Box<[u32]>,
}

impl Labels {
    /// The label of class `class` of the output at position `output` in the config. `None` where there is no
    /// file, no such line, or an empty line.
    pub fn get(&self, output: usize, class: usize) -> Option<&str> {
        self.by_output.get(output)?.as_ref()?.get(class).filter(|label| !label.is_empty())
    }

    /// Without labels of its own, the output at position `output` has those that `theirs` has at position `other`.
    pub(crate) fn inherit(&mut self, output: usize, theirs: &Self, other: usize) {
        if let Some(labels @ None) = self.by_output.get_mut(output) {
            *labels = theirs.by_output.get(other).cloned().flatten();
        }
    }

    /// Reads the label files of `outputs` of `model`, each file once.
    ///
    /// # Errors
    /// A file is missing (`failed to open text file for read …`), too large, or outside the model directory.
    pub(crate) fn read(dir: &ModelDir, model: &str, outputs: &[ModelOutput]) -> Result<Self> {
        let mut files = HashMap::new();
        let by_output = outputs.iter().map(|output| {
            let file = output.label_filename.as_str();
            if file.is_empty() {
                return Ok(None);
            }
            let lines = match files.get(file) {
                Some(lines) => Arc::clone(lines),
                None => Arc::new(read_file(dir, model, output)?),
            };
            files.insert(file, lines.clone());
            Ok(Some(lines))
        });
        Ok(Self { by_output: by_output.collect::<Result<_>>()? })
    }
}

impl Lines {
    fn new(text: &str) -> Self {
        let mut end = 0;
        let ends = text.split_inclusive('\n').map(|line| {
            end += line.len();
            u32::try_from(end).expect("three times the limit of a file, for U+FFFD, is below 4 GiB")
        });
        Self { ends: ends.collect(), text: text.into() }
    }

    /// Line `index`, counted from 0, without its line break.
    fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)? as usize;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.text.get(start..end)?.lines().next()
    }
}

fn read_file(dir: &ModelDir, model: &str, output: &ModelOutput) -> Result<Lines> {
    let Some(path) = dir.inside("", &output.label_filename) else {
        return Err(Error::unsupported(format!(
            "label file path '{}' for output '{}' in model '{model}' is outside model directory",
            dir.path.join(&output.label_filename).display(),
            output.name
        )));
    };
    let bytes = disk::read_text(&path, "label file")?;
    Ok(Lines::new(&String::from_utf8_lossy(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Root;

    #[test]
    fn lines() {
        for text in ["", "a", "a\n", "a\r\nb", "\n\n", "a\n\n\u{e9}\r\n", "a\rb\n", "a\r"] {
            let lines = Lines::new(text);
            let read: Vec<_> = (0..).map_while(|index| lines.get(index)).collect();
            assert_eq!(read, text.lines().collect::<Vec<_>>(), "{text:?}");
        }
    }

    #[test]
    fn outputs_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("m")).unwrap();
        std::fs::write(folder.path().join("m/labels.txt"), "zero\none").unwrap();
        std::fs::write(folder.path().join("m/other.txt"), "null").unwrap();
        let dir = Root::open(folder.path(), &crate::Options::default()).unwrap().model("m").unwrap().unwrap();
        let output = |file: &str| ModelOutput { label_filename: file.into(), ..Default::default() };
        let outputs = ["labels.txt", "", "other.txt", "labels.txt"].map(output);
        let labels = Labels::read(&dir, "m", &outputs).unwrap();
        let [Some(first), None, Some(_), Some(last)] = &labels.by_output[..] else { panic!("{labels:?}") };
        assert!(Arc::ptr_eq(first, last));
        assert_eq!(
            (labels.get(0, 1), labels.get(2, 0), labels.get(3, 0)),
            (Some("one"), Some("null"), Some("zero"))
        );
    }
}
