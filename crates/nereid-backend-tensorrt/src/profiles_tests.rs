//! Tests of `profiles`.

use super::*;
use crate::testing::{variable_profiles, with_shape_tensor};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn range(min: &[i64], opt: &[i64], max: &[i64]) -> Range {
    Range { min: min.to_vec(), opt: opt.to_vec(), max: max.to_vec(), values: None }
}

#[test]
fn numbers() {
    for (name, expected) in [("0", Ok(0)), ("12", Ok(12)), (" 3x", Ok(3)), ("-1", Ok(-1)), ("+2", Ok(2))] {
        assert_eq!(index_of(name), expected, "{name:?}");
    }
    for name in ["x", "-", " ", "99999999999"] {
        let expected = format!("Invalid argument: unable to parse '{name}': stoi");
        assert_eq!(index_of(name).unwrap_err().with_code(), expected);
    }
    assert_eq!(index_of("").unwrap_err().with_code(), "Invalid argument: profile name must not be empty");
}

#[test]
fn profiles_of_an_instance() {
    let check = |given: &[&str], expected: &[(&str, usize)]| {
        let got = chosen(&names(given), 3, "m_0").unwrap();
        let got: Vec<_> = got.iter().map(|profile| (&*profile.name, profile.index)).collect();
        assert_eq!(got, expected);
    };
    check(&[], &[("default", 0)]);
    check(&["2", "0"], &[("0", 0), ("2", 2)]);
    check(&["1", "01", "1"], &[("1", 1)]);
    let refused = |name: &str, expected: &str| {
        assert_eq!(chosen(&names(&["0", name]), 2, "m_0").unwrap_err().with_code(), expected);
    };
    let text = "Invalid argument: Can not set the specified optimization profile";
    refused("3", &format!("{text} 3[3] for m_0. Expected optimization profile index range 0-1"));
    refused("-1", &format!("{text} -1[-1] for m_0. Expected optimization profile index range 0-1"));
    refused("x", "Invalid argument: unable to parse 'x': stoi");
}

#[test]
fn shapes_that_a_profile_admits() {
    let range = range(&[1, 4], &[4, 16], &[8, 32]);
    for (shape, expected) in [
        (&[1, 4][..], Ok(())),
        (&[8, 32], Ok(())),
        (&[9, 4], Err("model expected the shape of dimension 0 to be between 1 and 8 but received 9")),
        (&[1, 3], Err("model expected the shape of dimension 1 to be between 4 and 32 but received 3")),
        (&[-1, 4], Err("model expected the shape of dimension 0 to be between 1 and 8 but received -1")),
        (&[1], Err("model expected 2 dimensions but received 1 dimensions")),
    ] {
        assert_eq!(range.admit(shape), expected.map_err(str::to_owned), "{shape:?}");
    }
    assert_eq!(range.admit_declared(&[-1, 4]), Ok(()));
    assert_eq!(range.admit_declared(&[-1, -1]), Ok(()));
    assert!(range.admit_declared(&[-1, 33]).is_err());
}

#[test]
fn values_that_a_profile_admits() {
    let engine = with_shape_tensor();
    let chosen = Chosen { name: "0".into(), index: 0 };
    let range = chosen.range(engine.info(), "INPUT0").unwrap();
    for (values, expected) in [
        (&[1, 1, 1][..], Ok(())),
        (&[8, 32, 32], Ok(())),
        (&[8, 33, 32], Err("The shape value at index 1 is expected to be in range from 1 to 32, Got: 33")),
        (&[0, 1, 1], Err("The shape value at index 0 is expected to be in range from 1 to 8, Got: 0")),
        (&[1, 1], Err("mismatch between the number of shape values. Expecting 3. Got 2")),
    ] {
        assert_eq!(range.admit_values(values), expected.map_err(str::to_owned), "{values:?}");
    }
    let dims = chosen.range(engine.info(), "DUMMY_INPUT0").unwrap();
    assert_eq!(dims.admit_values(&[99]), Ok(()), "it has none");
    assert_eq!(chosen.range(engine.info(), "OUTPUT0"), None);
}

#[test]
fn what_a_config_fixes() {
    let range = range(&[1, 4], &[4, 16], &[8, 32]);
    assert_eq!(range.clone().within(&[-1, 20], Some(6)).max, [6, 20]);
    assert_eq!(range.clone().within(&[-1, -1], None).max, [8, 32]);
    assert_eq!(range.within(&[2, 99], Some(99)).max, [2, 32]);
}

#[test]
fn the_nearest_profile() {
    let ranges = |rows: &[(i64, i64)]| -> Vec<Vec<Range>> {
        let engine = variable_profiles(rows);
        let of = |index| {
            let profile = Chosen { name: String::new(), index };
            ["INPUT0", "INPUT1"].map(|name| profile.range(engine.info(), name).unwrap()).to_vec()
        };
        (0..rows.len()).map(of).collect()
    };
    let check = |rows: &[(i64, i64)], shape: &[i64], expected| {
        let input = InputShape { shape, values: None };
        assert_eq!(nearest(&ranges(rows), &[input, input]), expected, "{rows:?} {shape:?}");
    };
    // The best number of rows is the largest one.
    check(&[(1, 1), (1, 8), (1, 4)], &[1, 16], Some(0));
    check(&[(1, 1), (1, 8), (1, 4)], &[2, 16], Some(2));
    check(&[(1, 1), (1, 8), (1, 4)], &[7, 16], Some(1));
    check(&[(1, 8), (1, 8)], &[3, 16], Some(0));
    check(&[(1, 4), (1, 8)], &[9, 16], None);
    check(&[(1, 4), (1, 8)], &[1, 33], None);
    check(&[(1, 4), (1, 8)], &[1], None);
    // All sizes count, each against its own best one: Triton takes the wrong pairs.
    let profiles = vec![vec![range(&[1, 1], &[4, 30], &[8, 32])], vec![range(&[1, 1], &[8, 4], &[8, 32])]];
    assert_eq!(nearest(&profiles, &[InputShape { shape: &[4, 4], values: None }]), Some(1));
    assert_eq!(nearest(&profiles, &[InputShape { shape: &[4, 30], values: None }]), Some(0));
}

#[test]
fn the_nearest_values() {
    let range = |best: i64, most: i64| {
        let values = Some([vec![1, 1], vec![4, best], vec![8, most]]);
        vec![Range { values, ..range(&[2], &[2], &[2]) }]
    };
    let profiles = vec![range(30, 32), range(4, 16)];
    let check = |values: &[i64], expected| {
        assert_eq!(nearest(&profiles, &[InputShape { shape: &[2], values: Some(values) }]), expected);
    };
    check(&[1, 5], Some(1));
    check(&[1, 28], Some(0));
    check(&[1, 17], Some(0)); // the other one does not admit it
    check(&[9, 4], None);
}

#[test]
fn no_profile() {
    let profiles = chosen(&names(&["0", "1"]), 2, "m_0").unwrap();
    assert_eq!(
        none_fits(&profiles),
        "failed to find any Optimization Profile among [ 0[0] 1[1]] to support the requested dimensions (or shape values), \
         proceeding with first profile."
    );
}
