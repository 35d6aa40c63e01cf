//! Several optimization profiles: the nearest one runs, and what none admits is refused.

use nereid_core::DataType::Fp32;

use crate::fixture::{Served, config, input, on_both, output, outputs, tensor};

/// Rows of any length, 1 to 2 under the first profile and 4 to 8 under the second.
const PLAN: &str = "op identity\nin X 0 -1x-1 1x1 1x4 2x4 4x2 6x6 8x8\nout Y 0 -1x-1";

fn check(profiles: &[&str], shapes: &[(&[i64], Result<(), &str>)]) {
    on_both(|setup| {
        let mut config = config(8, vec![input("X", Fp32, &[-1])], vec![output("Y", Fp32, &[-1])]);
        config.instances[0].profiles = profiles.iter().map(|name| (*name).to_owned()).collect();
        let served = setup.load(config, PLAN);
        let mut instance = served.instance();
        for (shape, expected) in shapes {
            let values: Vec<f32> = (0..shape[0] * shape[1]).map(|n| n as f32).collect();
            let got = served.run(&mut *instance, &[served.request(&[("X", shape, &values)])]);
            let got = got.map(|responses| outputs(&responses[0])).map_err(|error| error.with_code());
            let expected = expected
                .map(|()| vec![tensor("Y", shape, &values)])
                .map_err(|text| format!("Internal: {text}"));
            assert_eq!(got, expected, "{profiles:?} {shape:?}");
        }
    });
}

const BETWEEN: &str = "request specifies invalid shape for input 'X' for m_0. Error details: model expected the shape of \
                       dimension ";

#[test]
fn the_nearest_profile_runs() {
    let text = |rest: &str| format!("{BETWEEN}{rest}");
    let none = text("0 to be between 1 and 2 but received 3");
    let only_second = text("0 to be between 4 and 8 but received 2");
    let too_long = text("1 to be between 1 and 4 but received 5");
    check(&[], &[(&[1, 1], Ok(())), (&[2, 4], Ok(())), (&[2, 5], Err(&too_long)), (&[3, 1], Err(&none))]);
    check(&["1"], &[(&[4, 2], Ok(())), (&[8, 8], Ok(())), (&[2, 4], Err(&only_second))]);
    check(
        &["1", "0"],
        &[(&[1, 1], Ok(())), (&[8, 8], Ok(())), (&[3, 2], Err(&none)), (&[2, 4], Ok(())), (&[5, 5], Ok(()))],
    );
}

#[test]
fn profiles_that_are_not_there() {
    on_both(|setup| {
        let error = |names: &[&str]| {
            let mut config = config(8, vec![input("X", Fp32, &[-1])], vec![output("Y", Fp32, &[-1])]);
            config.instances[0].profiles = names.iter().map(|name| (*name).to_owned()).collect();
            Served::instance_error(&setup.load(config, PLAN))
        };
        assert_eq!(
            error(&["0", "2"]),
            "Invalid argument: Can not set the specified optimization profile 2[2] for m_0. Expected optimization profile \
             index range 0-1"
        );
    });
}
