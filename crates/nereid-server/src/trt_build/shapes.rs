//! `NAME:1x3x224x224,…` as `trtexec` takes it.

/// Shapes, or values of shape tensors, by input, in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shapes(Vec<(String, Vec<i64>)>);

impl Shapes {
    pub(super) fn of(&self, input: &str) -> Option<&[i64]> {
        self.0.iter().find(|(name, _)| name == input).map(|(_, shape)| &shape[..])
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

/// # Errors
/// The words that go behind "invalid value".
pub(super) fn parse(text: &str) -> Result<Shapes, String> {
    let mut shapes = Shapes::default();
    for item in items(text)? {
        let (name, shape) = item.rsplit_once(':').ok_or_else(|| format!("'{item}' is not NAME:SHAPE"))?;
        let name = name.strip_prefix('\'').and_then(|name| name.strip_suffix('\'')).unwrap_or(name);
        if name.is_empty() {
            return Err(format!("'{item}' names no input"));
        }
        if shapes.of(name).is_some() {
            return Err(format!("input '{name}' is named twice"));
        }
        let shape = dimensions(shape).ok_or_else(|| {
            format!("'{shape}' of input '{name}' is not a shape, which is numbers with x between them")
        })?;
        shapes.0.push((name.to_owned(), shape));
    }
    Ok(shapes)
}

/// What stands between commas that are not quoted.
fn items(text: &str) -> Result<Vec<&str>, String> {
    let mut items = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, character) in text.char_indices() {
        match character {
            '\'' => quoted = !quoted,
            ',' if !quoted => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if quoted {
        return Err("a single quote has no end".to_owned());
    }
    items.push(&text[start..]);
    Ok(items)
}

fn dimensions(text: &str) -> Option<Vec<i64>> {
    if text.is_empty() || text == "scalar" {
        return Some(Vec::new());
    }
    text.split('x').map(|size| size.parse().ok().filter(|size| *size >= 0)).collect()
}

/// As shapes are written on a command line.
pub(super) fn written(shape: &[i64]) -> String {
    if shape.is_empty() {
        return "scalar".to_owned();
    }
    shape.iter().map(i64::to_string).collect::<Vec<_>>().join("x")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        for (text, expected) in [
            ("x:1x3x224x224", &[("x", &[1, 3, 224, 224][..])][..]),
            ("x:8,y:1x2", &[("x", &[8]), ("y", &[1, 2])]),
            ("input:0:1x2", &[("input:0", &[1, 2])]),
            ("'a,b:0':3,c:0", &[("a,b:0", &[3]), ("c", &[0])]),
            ("s:scalar,t:", &[("s", &[]), ("t", &[])]),
        ] {
            let shapes = parse(text).unwrap();
            let expected: Vec<_> =
                expected.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect();
            assert_eq!(shapes.0, expected, "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for (text, expected) in [
            ("", "'' is not NAME:SHAPE"),
            ("x", "'x' is not NAME:SHAPE"),
            (":1x2", "':1x2' names no input"),
            ("x:1x", "'1x' of input 'x' is not a shape"),
            ("x:-1x3", "'-1x3' of input 'x' is not a shape"),
            ("x:99999999999999999999", "is not a shape"),
            ("x:1,x:2", "input 'x' is named twice"),
            ("'x:1", "a single quote has no end"),
            ("x:1,", "'' is not NAME:SHAPE"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
