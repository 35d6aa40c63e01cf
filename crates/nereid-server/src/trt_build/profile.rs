//! The optimisation profile that the shapes on the command line make, for the inputs that the model has.

use nereid_tensorrt::builder::{BuildProfile, NetworkTensor, ProfileShapes};

use super::arguments::Arguments;
use super::shapes::{Shapes, written};

/// The profile; `None`: nothing varies, and none was asked for.
///
/// # Errors
/// What is missing or does not fit, by input.
pub(super) fn profile(
    inputs: &[NetworkTensor],
    arguments: &Arguments,
) -> Result<Option<BuildProfile>, String> {
    let given = [
        ("--minShapes", &arguments.min_shapes),
        ("--optShapes", &arguments.opt_shapes),
        ("--maxShapes", &arguments.max_shapes),
    ];
    let given = given.map(|(flag, shapes)| (flag, shapes.clone().unwrap_or_default()));
    check_names(inputs, &given)?;
    let missing: Vec<&NetworkTensor> = inputs
        .iter()
        .filter(|input| varies(input) && given.iter().all(|(_, shapes)| shapes.of(&input.name).is_none()))
        .collect();
    if !missing.is_empty() {
        return Err(explain(&missing));
    }
    let [(_, min), (_, opt), (_, max)] = &given;
    let mut profile = BuildProfile::default();
    for input in inputs {
        for (flag, shapes) in &given {
            if let Some(shape) = shapes.of(&input.name) {
                check(input, flag, shape)?;
            }
        }
        // As `trtexec`: what is not given is as near to the others as it can be.
        let [min, opt, max] = [min, opt, max].map(|shapes| shapes.of(&input.name));
        let Some(opt) = opt.or(max).or(min) else { continue };
        let (min, max) = (min.unwrap_or(opt), max.unwrap_or(opt));
        if !ordered(min, opt) || !ordered(opt, max) {
            return Err(format!(
                "input '{}': its smallest shape {}, its best {} and its largest {} are not in this order in every dimension",
                input.name,
                written(min),
                written(opt),
                written(max)
            ));
        }
        if varies(input) {
            profile.inputs.push(ProfileShapes {
                name: input.name.clone(),
                min: min.to_vec(),
                opt: opt.to_vec(),
                max: max.to_vec(),
                is_shape_tensor: input.is_shape_tensor,
            });
        }
    }
    Ok((!profile.inputs.is_empty()).then_some(profile))
}

/// Whether a profile has to say something about it.
fn varies(input: &NetworkTensor) -> bool {
    input.is_shape_tensor || input.shape.contains(&-1)
}

fn ordered(low: &[i64], high: &[i64]) -> bool {
    low.iter().zip(high).all(|(low, high)| low <= high)
}

fn check_names(inputs: &[NetworkTensor], given: &[(&str, Shapes); 3]) -> Result<(), String> {
    for (flag, shapes) in given {
        for name in shapes.names() {
            if !inputs.iter().any(|input| input.name == name) {
                let names: Vec<_> = inputs.iter().map(|input| format!("'{}'", input.name)).collect();
                return Err(format!(
                    "{flag}: there is no input '{name}': the model has {}",
                    names.join(", ")
                ));
            }
        }
    }
    Ok(())
}

fn check(input: &NetworkTensor, flag: &str, shape: &[i64]) -> Result<(), String> {
    if input.is_shape_tensor {
        let count: i64 = input.shape.iter().product();
        return if i64::try_from(shape.len()) == Ok(count) {
            Ok(())
        } else {
            let given = shape.len();
            Err(format!("{flag}: shape tensor '{}' has {count} values, and {given} are given", input.name))
        };
    }
    let fits = |(own, given): (&i64, &i64)| *own == -1 || own == given;
    if shape.len() == input.shape.len() && input.shape.iter().zip(shape).all(fits) {
        return Ok(());
    }
    let (own, given) = (written(&input.shape), written(shape));
    Err(format!("{flag}: input '{}' has shape {own}, which {given} does not fit", input.name))
}

/// What is missing, with flags that could be given.
fn explain(missing: &[&NetworkTensor]) -> String {
    let mut text = String::new();
    for input in missing {
        let (name, shape) = (&input.name, written(&input.shape));
        text += &if input.is_shape_tensor {
            format!("input '{name}' is a shape tensor, and the plan has to know which values it may have\n")
        } else {
            format!("input '{name}' has shape {shape}, and the plan has to know which sizes it may have\n")
        };
    }
    text += "for example:";
    for (flag, size) in [("--minShapes", 1), ("--optShapes", 8), ("--maxShapes", 16)] {
        let shapes: Vec<_> =
            missing.iter().map(|input| format!("{}:{}", input.name, example(input, size))).collect();
        text += &format!(" {flag}={}", shapes.join(","));
    }
    text
}

/// The input's shape with `size` for a batch, and for other sizes that vary a number that somebody will change.
fn example(input: &NetworkTensor, size: i64) -> String {
    if input.is_shape_tensor {
        let count = usize::try_from(input.shape.iter().product::<i64>()).unwrap_or(1).clamp(1, 8);
        return written(&vec![size; count]);
    }
    let sizes = input.shape.iter().enumerate();
    let sizes = sizes.map(|(at, own)| match own {
        -1 if at == 0 => size,
        -1 => 32,
        own => *own,
    });
    written(&sizes.collect::<Vec<_>>())
}
