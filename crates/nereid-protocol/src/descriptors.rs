//! The descriptors of our messages, decoded once: what the config text and the config JSON are driven by.
//!
//! Only `ModelConfig` is read and written this way; the messages of the data path never are.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor};

use crate::inference::ModelConfig;

static MODEL_CONFIG: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    DescriptorPool::decode(crate::FILE_DESCRIPTOR_SET)
        .expect("the committed descriptors are what the generator wrote")
        .get_message_by_name("inference.ModelConfig")
        .expect("model_config.proto declares ModelConfig")
});

/// The descriptor of `inference.ModelConfig`.
///
/// No message in it contains itself, so whoever walks it recurses a few levels deep at most,
/// whatever the input is.
pub(crate) fn model_config() -> &'static MessageDescriptor {
    &MODEL_CONFIG
}

/// The fields of a message in the order of their declaration (prost-reflect's own order is by number).
pub(crate) fn declared_fields(message: &MessageDescriptor) -> impl Iterator<Item = FieldDescriptor> {
    message
        .descriptor_proto()
        .field
        .iter()
        .filter_map(|field| message.get_field(u32::try_from(field.number()).ok()?))
}

/// A config as a message that can be walked by its descriptor.
pub(crate) fn to_dynamic(config: &ModelConfig) -> DynamicMessage {
    let mut message = DynamicMessage::new(model_config().clone());
    message.transcode_from(config).expect("both sides are generated from one .proto file");
    message
}

/// The config that a message of [`model_config`]'s type holds.
pub(crate) fn from_dynamic(message: &DynamicMessage) -> ModelConfig {
    message.transcode_to().expect("both sides are generated from one .proto file")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deepest(message: &MessageDescriptor, above: &mut Vec<String>) -> usize {
        let name = message.full_name().to_owned();
        assert!(!above.contains(&name), "{name} contains itself: {above:?}");
        above.push(name);
        let below = message.fields().filter_map(|field| Some(deepest(field.kind().as_message()?, above)));
        let depth = below.max().unwrap_or(0) + 1;
        above.pop();
        depth
    }

    #[test]
    fn no_message_of_a_config_contains_itself() {
        assert!(deepest(model_config(), &mut Vec::new()) < 10);
    }

    #[test]
    fn fields_come_in_the_order_of_declaration() {
        let names: Vec<_> = declared_fields(model_config()).map(|field| field.name().to_owned()).collect();
        assert_eq!(&names[..5], ["name", "platform", "backend", "runtime", "version_policy"]);
        assert_eq!(names.len(), model_config().fields().len());
    }
}
