//! The body of `generate`, whose members are tensors or parameters as the model has it: each is read as both.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nereid_fuzz::MAX_INPUT_BYTES;
use nereid_protocol::rest::{Datatype, Member, parse_members};

fuzz_target!(|text: &[u8]| {
    let Ok(members) = parse_members(text, MAX_INPUT_BYTES) else { return };
    for member in &members {
        read(member, text.len());
        for inner in member.members().unwrap_or_default() {
            read(&inner, text.len());
        }
    }
});

fn read(member: &Member<'_>, sent: usize) {
    let name = member.name();
    let _ = (member.parameter(&name), member.as_text(&name));
    for datatype in Datatype::ALL {
        let Ok(tensor) = member.tensor(datatype, MAX_INPUT_BYTES) else { continue };
        let (count, byte_size) = (tensor.count, tensor.byte_size);
        let Ok(data) = tensor.read(&name) else { continue };
        assert!(data.len() <= (sent * 8).min(MAX_INPUT_BYTES + 8), "{sent} bytes became {}", data.len());
        if let Some(size) = datatype.size_bytes() {
            assert_eq!(data.len(), count * size);
        } else if byte_size <= MAX_INPUT_BYTES as u64 {
            assert_eq!(data.len() as u64, byte_size);
        }
    }
}
