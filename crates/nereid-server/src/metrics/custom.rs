//! Metrics that backends have of their own (Triton's Metrics API). They stand behind all others.

use nereid_core::backend::Counter;

use super::text::{Kind, Labels, Text};

/// `counters` as they are shown; those of one name stand together.
pub(super) fn render(counters: &[Counter]) -> String {
    let mut text = Text::default();
    for same in counters.chunk_by(|a, b| a.name == b.name) {
        text.family(same[0].name, same[0].help, Kind::Counter);
        for counter in same {
            let labels = Labels::new(counter.labels.iter().map(|(name, value)| (*name, value.as_str())));
            text.line(counter.name, "", &labels, counter.value);
        }
    }
    text.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_one_name_are_a_family() {
        let counter = |name, model: &str, value| {
            let labels = vec![("version", "1".to_owned()), ("model", model.to_owned())];
            Counter { name, help: "Of it.", labels, value }
        };
        assert_eq!(render(&[]), "");
        assert_eq!(
            render(&[counter("a", "m", 3), counter("a", "n\"", 0), counter("b", "m", 1)]),
            "# HELP a Of it.\n# TYPE a counter\na{model=\"m\",version=\"1\"} 3\na{model=\"n\\\"\",version=\"1\"} 0\n\
             # HELP b Of it.\n# TYPE b counter\nb{model=\"m\",version=\"1\"} 1\n"
        );
    }
}
