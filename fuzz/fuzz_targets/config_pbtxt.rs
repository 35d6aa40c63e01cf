//! `config.pbtxt`: what is read can be printed and read again, and shown as JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nereid_protocol::inference::ModelConfig;
use nereid_protocol::{config_json, config_text};

fuzz_target!(|text: &str| {
    let Ok(config) = config_text::parse(text) else { return };
    let printed = config_text::print(&config);
    let again = config_text::parse(&printed).expect("what was printed can be read");
    assert_eq!(config_text::print(&again), printed, "{config:?}");
    if config != ModelConfig::default() {
        let json = config_json::to_json(&config);
        let again = config_json::parse(&json).expect("what is shown can be read");
        assert_eq!(config_json::to_json(&again), json);
    }
});
