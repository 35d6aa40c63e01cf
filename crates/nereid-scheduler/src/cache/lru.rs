//! A map of bounded weight that forgets what was not used for the longest time. Pure; counts what it is told things
//! weigh.

use std::collections::HashMap;
use std::hash::Hash;

/// No neighbour.
const NONE: usize = usize::MAX;

/// Keys and values with a weight each, of which the least recently used leave when all together would weigh too much.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    capacity: u64,
    weight: u64,
    evictions: u64,
    places: HashMap<K, usize>,
    nodes: Vec<Node<K, V>>,
    /// Places in `nodes` that are empty.
    free: Vec<usize>,
    newest: usize,
    oldest: usize,
}

#[derive(Debug)]
struct Node<K, V> {
    key: K,
    /// `None` in an empty place.
    value: Option<V>,
    weight: u64,
    newer: usize,
    older: usize,
}

/// What became of a value that was to be inserted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Inserted<V> {
    /// It is there, and these had to leave, oldest first.
    Evicting(Vec<V>),
    /// There was one under this key already, which stays.
    Exists(V),
    /// It weighs more than everything together may.
    TooHeavy(V),
}

impl<K: Copy + Eq + Hash, V> Lru<K, V> {
    /// An empty map for values that weigh up to `capacity` together.
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            capacity,
            weight: 0,
            evictions: 0,
            places: HashMap::new(),
            nodes: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
        }
    }

    /// Values that are there.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// What all values may weigh together.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// What all values weigh together.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// How many had to leave so far.
    pub(crate) fn evictions(&self) -> u64 {
        self.evictions
    }

    /// The value under `key`, which is now the one used last.
    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        let place = *self.places.get(key)?;
        if self.newest != place {
            self.unlink(place);
            self.link(place);
        }
        self.nodes[place].value.as_ref()
    }

    /// Puts `value` under `key`.
    pub(crate) fn insert(&mut self, key: K, value: V, weight: u64) -> Inserted<V> {
        if weight > self.capacity {
            return Inserted::TooHeavy(value);
        }
        if self.places.contains_key(&key) {
            return Inserted::Exists(value);
        }
        let mut evicted = Vec::new();
        // Cannot overflow: both are at most the capacity.
        while self.weight > self.capacity - weight {
            evicted.extend(self.evict());
        }
        let node = Node { key, value: Some(value), weight, newer: NONE, older: NONE };
        let place = match self.free.pop() {
            Some(place) => {
                self.nodes[place] = node;
                place
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        self.link(place);
        self.places.insert(key, place);
        self.weight += weight;
        Inserted::Evicting(evicted)
    }

    fn evict(&mut self) -> Option<V> {
        let place = self.oldest;
        self.unlink(place);
        let node = &mut self.nodes[place];
        self.places.remove(&node.key);
        self.weight -= node.weight;
        self.free.push(place);
        self.evictions += 1;
        node.value.take()
    }

    /// Makes `place` the newest.
    fn link(&mut self, place: usize) {
        (self.nodes[place].newer, self.nodes[place].older) = (NONE, self.newest);
        match self.newest {
            NONE => self.oldest = place,
            newest => self.nodes[newest].newer = place,
        }
        self.newest = place;
    }

    fn unlink(&mut self, place: usize) {
        let Node { newer, older, .. } = self.nodes[place];
        match newer {
            NONE => self.newest = older,
            newer => self.nodes[newer].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.nodes[older].newer = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evicting<V>(values: impl Into<Vec<V>>) -> Inserted<V> {
        Inserted::Evicting(values.into())
    }

    #[test]
    fn what_was_used_last_stays() {
        let mut lru = Lru::new(30);
        for key in [1, 2, 3] {
            assert_eq!(lru.insert(key, key, 10), evicting([]));
        }
        assert_eq!(lru.get(&1), Some(&1));
        assert_eq!(lru.insert(4, 4, 10), evicting([2]));
        assert_eq!(lru.get(&3), Some(&3));
        assert_eq!(lru.get(&3), Some(&3));
        assert_eq!(lru.insert(5, 5, 11), evicting([1, 4]), "as many as must");
        assert_eq!([1, 2, 3, 4, 5].map(|key| lru.get(&key).copied()), [None, None, Some(3), None, Some(5)]);
        assert_eq!((lru.len(), lru.weight(), lru.evictions()), (2, 21, 3));
        assert_eq!(lru.insert(6, 6, 30), evicting([3, 5]));
        assert_eq!((lru.len(), lru.weight(), lru.evictions()), (1, 30, 5));
    }

    #[test]
    fn what_exists_stays_and_what_is_too_heavy_does_not_come() {
        let mut lru = Lru::new(10);
        assert_eq!(lru.insert('a', 1, 10), evicting([]));
        assert_eq!(lru.insert('a', 2, 5), Inserted::Exists(2));
        assert_eq!(lru.insert('b', 3, 11), Inserted::TooHeavy(3));
        assert_eq!(lru.insert('b', 3, u64::MAX), Inserted::TooHeavy(3));
        assert_eq!((lru.get(&'a').copied(), lru.weight(), lru.evictions()), (Some(1), 10, 0));
        let mut nothing = Lru::new(0);
        assert_eq!(nothing.insert('a', 1, 1), Inserted::TooHeavy(1));
    }

    /// Against a list in order of use.
    #[test]
    fn it_does_what_a_list_does() {
        let (mut lru, mut list) = (Lru::new(100), Vec::<(u32, u64)>::new());
        let mut random = 1_u32;
        for _ in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (key, weight) = (random >> 27, u64::from(random >> 10) % 40);
            let found = list.iter().position(|(other, _)| *other == key);
            if random & 0x100 == 0 {
                assert_eq!(lru.get(&key).copied(), found.map(|_| key));
                if let Some(at) = found {
                    let used = list.remove(at);
                    list.push(used);
                }
            } else if found.is_none() {
                let mut gone = Vec::new();
                while list.iter().map(|(_, weight)| weight).sum::<u64>() + weight > 100 {
                    gone.push(list.remove(0).0);
                }
                list.push((key, weight));
                assert_eq!(lru.insert(key, key, weight), evicting(gone));
            }
            assert_eq!((lru.len(), lru.weight()), (list.len(), list.iter().map(|(_, weight)| weight).sum()));
            assert!(lru.nodes.len() <= 32, "places are used again");
        }
    }
}
