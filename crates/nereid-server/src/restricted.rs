//! Restricted APIs: the categories of what a client can ask for, and the header that each may demand.
//!
//! A table and a check for both protocols. Which route or rpc is of which category stands where it is declared
//! (`http/mod.rs`, `grpc/category.rs`); turning clients away is the frontends' part.

use std::fmt;
use std::sync::Arc;

use http::header::InvalidHeaderName;
use http::{HeaderMap, HeaderName};
use subtle::ConstantTimeEq;

/// What a route or an rpc is about, as Triton divides them (`restricted_features.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    Health,
    Metadata,
    Inference,
    SharedMemory,
    ModelConfig,
    ModelRepository,
    Statistics,
    Trace,
    Logging,
}

/// Categories and the names that flags have for them, in the order of the enum.
const NAMES: [(Category, &str); 9] = [
    (Category::Health, "health"),
    (Category::Metadata, "metadata"),
    (Category::Inference, "inference"),
    (Category::SharedMemory, "shared-memory"),
    (Category::ModelConfig, "model-config"),
    (Category::ModelRepository, "model-repository"),
    (Category::Statistics, "statistics"),
    (Category::Trace, "trace"),
    (Category::Logging, "logging"),
];

impl Category {
    /// The category that a flag names.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(category, _)| *category)
    }
}

/// A header and the value it must have.
#[derive(Clone)]
pub struct Restriction {
    name: HeaderName,
    /// The name as the user wrote it.
    header: String,
    value: Vec<u8>,
}

impl Restriction {
    /// Demands `header` with `value`; the case of `header` does not matter.
    ///
    /// # Errors
    /// No client could send a header of that name.
    pub fn new(header: &str, value: &str) -> Result<Self, InvalidHeaderName> {
        let name = HeaderName::from_bytes(header.as_bytes())?;
        Ok(Self { name, header: header.to_owned(), value: value.into() })
    }

    /// Name of the header, for messages.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// Whether `headers` have what is demanded. How long it takes tells nothing of a value but its length.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        headers.get(&self.name).is_some_and(|sent| sent.as_bytes().ct_eq(&self.value).into())
    }
}

/// The value is a secret.
impl fmt::Debug for Restriction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restriction").field("header", &self.header).finish_non_exhaustive()
    }
}

/// Which categories are restricted; by default none.
#[derive(Debug, Clone, Default)]
pub struct Restrictions([Option<Arc<Restriction>>; NAMES.len()]);

impl Restrictions {
    /// Restricts `category`; `false` if it was restricted already.
    #[must_use = "a category can be in one group only"]
    pub fn insert(&mut self, category: Category, restriction: Arc<Restriction>) -> bool {
        let place = &mut self.0[category as usize];
        let free = place.is_none();
        if free {
            *place = Some(restriction);
        }
        free
    }

    /// What `category` demands, if anything.
    pub fn of(&self, category: Category) -> Option<&Arc<Restriction>> {
        self.0[category as usize].as_ref()
    }

    /// Whether nothing is restricted.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn names_and_places_of_categories() {
        for (place, (category, name)) in NAMES.into_iter().enumerate() {
            assert_eq!((category as usize, Category::from_name(name)), (place, Some(category)));
        }
        assert_eq!(Category::from_name("Health"), None);
        assert_eq!(Category::from_name(""), None);
    }

    #[test]
    fn a_value_must_be_the_very_one() {
        let restriction = Restriction::new("X-Key", "säcret").unwrap();
        for (name, value, admitted) in [
            ("x-key", "säcret", true),
            ("X-KEY", "säcret", true),
            ("x-key", "säcre", false),
            ("x-key", "säcret2", false),
            ("x-key", "SÄCRET", false),
            ("x-key", "", false),
            ("x-keys", "säcret", false),
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_bytes(value.as_bytes()).unwrap())]);
            assert_eq!(restriction.admits(&headers), admitted, "{headers:?}");
        }
        assert!(!restriction.admits(&HeaderMap::new()));
        assert!(!format!("{restriction:?}").contains("cret\""), "secrets are not printed");
        assert!(Restriction::new("a b", "v").is_err());
    }

    #[test]
    fn a_category_is_in_one_group() {
        let mut restrictions = Restrictions::default();
        assert!(restrictions.is_empty());
        let restriction = Arc::new(Restriction::new("a", "b").unwrap());
        assert!(restrictions.insert(Category::Trace, restriction.clone()));
        assert!(!restrictions.insert(Category::Trace, restriction.clone()));
        assert!(restrictions.insert(Category::Logging, restriction));
        assert!(!restrictions.is_empty() && restrictions.of(Category::Health).is_none());
        assert_eq!(restrictions.of(Category::Logging).unwrap().header(), "a");
    }
}
