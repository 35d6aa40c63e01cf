//! Vectorised layouts are passed through as they are, padding included.

use nereid_core::DataType::Fp32;
use nereid_core::config::{InputConfig, OutputConfig, TensorForm};

use crate::fixture::{config, input, on_both, output, outputs};

#[test]
fn padding_goes_in_and_comes_out() {
    on_both(|setup| {
        // CHW2: three channels take the room of four.
        let layout = "format=1 vectorized_dim=1 components=2 bytes=4";
        let plan = format!("op identity\nin X 0 -1x3x2 1x3x2 2x3x2 4x3x2 {layout}\nout Y 0 -1x3x2 {layout}");
        let x = InputConfig { form: TensorForm::NonLinear, ..input("X", Fp32, &[3, 2]) };
        let y = OutputConfig { form: TensorForm::NonLinear, ..output("Y", Fp32, &[3, 2]) };
        let served = setup.load(config(4, vec![x], vec![y]), &plan);
        let mut instance = served.instance();
        let values = |first: f32| (0..8).map(|n| first + n as f32).collect::<Vec<_>>();
        let request = |first: f32| served.request(&[("X", &[1, 3, 2], &values(first))]);
        let responses = served.run(&mut *instance, &[request(1.0), request(100.0)]).unwrap();
        for (response, first) in responses.iter().zip([1.0, 100.0]) {
            assert_eq!(outputs(response), [("Y".to_owned(), vec![1, 3, 2], values(first))]);
        }
        let short = served.request(&[("X", &[1, 3, 2], &[0.0; 6])]);
        assert_eq!(
            served.run_error(&mut *instance, &[short]),
            "Invalid argument: input byte size mismatch for input 'X' for model 'm'. Expected 32, got 24"
        );
    });
}
