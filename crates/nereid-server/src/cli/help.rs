//! The text of `--help`, which is also the usage that precedes an error.

use super::flags::{self, Flag};

const WIDTH: usize = 80;
const INDENT: usize = 8;
const NO_BREAK: char = '\u{a0}';

/// Every flag by group, in the order of the table, with its default.
pub(super) fn usage() -> String {
    let mut text = String::from("Usage: nereid [options]\n");
    if cfg!(feature = "tensorrt") {
        text.push_str("       nereid trt-build [options], which builds TensorRT plans\n");
    }
    for group in flags::GROUPS {
        if !group.name.is_empty() {
            text.push_str(&format!("\n{}:\n", group.name));
        }
        for flag in group.flags {
            describe(flag, &mut text);
        }
    }
    text
}

fn describe(flag: &Flag, text: &mut String) {
    text.push_str(&format!("  --{}", flag.name));
    if let Some(placeholder) = flag.value.placeholder() {
        text.push_str(&format!(" <{placeholder}>"));
    }
    text.push('\n');
    let mut help = String::new();
    if !flag.ready {
        help.push_str("[not there yet] ");
    }
    if flag.own {
        help.push_str("[not in Triton] ");
    }
    if let Some(instead) = flag.deprecated {
        help.push_str(&format!("Deprecated, use {instead}. "));
    }
    help.push_str(flag.help);
    if !flag.default.is_empty() {
        help.push_str(&format!(" Default:{NO_BREAK}{}.", flag.default));
    }
    wrap(&help, text);
}

/// Appends `paragraph`, indented, in lines of at most [`WIDTH`]. [`NO_BREAK`] becomes a space that holds.
fn wrap(paragraph: &str, text: &mut String) {
    let mut column = 0;
    for word in paragraph.split(' ') {
        let length = word.chars().count();
        if column == 0 || column + 1 + length > WIDTH {
            if column > 0 {
                text.push('\n');
            }
            text.push_str(&" ".repeat(INDENT));
            column = INDENT + length;
        } else {
            text.push(' ');
            column += 1 + length;
        }
        text.push_str(&word.replace(NO_BREAK, " "));
    }
    text.push('\n');
}
