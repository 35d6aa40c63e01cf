//! `RepositoryModelLoad` and `RepositoryModelUnload`.

use std::collections::BTreeMap;
use std::sync::Arc;

use nereid_core::{Error, Result};
use nereid_protocol::inference::model_repository_parameter::ParameterChoice;
use nereid_protocol::inference::{
    ModelRepositoryParameter, RepositoryModelLoadRequest, RepositoryModelLoadResponse,
    RepositoryModelUnloadRequest, RepositoryModelUnloadResponse,
};
use nereid_repository::LoadParameters;
use prost::Message as _;

use super::{Answer, answer};
use crate::service::Service;

/// Loads a model and answers when it serves.
pub(super) async fn load(
    service: Arc<Service>,
    request: RepositoryModelLoadRequest,
) -> Answer<RepositoryModelLoadResponse> {
    let mut held = service.budget().hold();
    if let Err(error) = held.grow(request.encoded_len()) {
        return answer(Err(error));
    }
    let RepositoryModelLoadRequest { repository_name, model_name, parameters } = request;
    let loaded = service.control(move |repository| {
        unnamed(&repository_name)?;
        let parameters = load_parameters(parameters)?;
        let loaded = repository.load_model(&model_name, &parameters);
        drop((parameters, held));
        loaded
    });
    answer(loaded.await.map(|()| RepositoryModelLoadResponse {}))
}

/// Takes a model out of service and answers before its last requests are done.
pub(super) async fn unload(
    service: Arc<Service>,
    request: RepositoryModelUnloadRequest,
) -> Answer<RepositoryModelUnloadResponse> {
    let RepositoryModelUnloadRequest { repository_name, model_name, parameters } = request;
    let unloaded = service.control(move |repository| {
        unnamed(&repository_name)?;
        repository.unload_model(&model_name, unload_dependents(&parameters)?)
    });
    answer(unloaded.await.map(|()| RepositoryModelUnloadResponse {}))
}

fn load_parameters(parameters: BTreeMap<String, ModelRepositoryParameter>) -> Result<LoadParameters> {
    let mut load = LoadParameters::default();
    for (name, parameter) in parameters {
        let expected = |kind: &str| {
            let message = format!("invalid value type for load parameter '{name:.200}', expected {kind}.");
            Error::invalid_arg(message)
        };
        let file = name.strip_prefix("file:");
        match (name.as_str(), file, parameter.parameter_choice) {
            ("config", _, Some(ParameterChoice::StringParam(config))) => load.config = Some(config),
            ("config", _, _) => return Err(expected("string_param")),
            (_, Some(path), Some(ParameterChoice::BytesParam(contents))) => {
                load.files.insert(path.to_owned(), contents);
            }
            (_, Some(_), _) => return Err(expected("bytes_param")),
            _ => return Err(Error::invalid_arg(format!("unrecognized load parameter '{name:.200}'."))),
        }
    }
    Ok(load)
}

fn unload_dependents(parameters: &BTreeMap<String, ModelRepositoryParameter>) -> Result<bool> {
    match parameters.get("unload_dependents").map(|parameter| &parameter.parameter_choice) {
        None => Ok(false),
        Some(Some(ParameterChoice::BoolParam(dependents))) => Ok(*dependents),
        Some(_) => Err(Error::invalid_arg(
            "invalid value type for 'unload_dependents' parameter, expected bool_param.",
        )),
    }
}

fn unnamed(repository: &str) -> Result<()> {
    if repository.is_empty() {
        Ok(())
    } else {
        Err(Error::unsupported("'repository_name' specification is not supported"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(given: &[(&str, Option<ParameterChoice>)]) -> BTreeMap<String, ModelRepositoryParameter> {
        let entry = |(name, choice): &(&str, Option<ParameterChoice>)| {
            ((*name).to_owned(), ModelRepositoryParameter { parameter_choice: choice.clone() })
        };
        given.iter().map(entry).collect()
    }

    #[test]
    fn load_parameters_have_types() {
        let text = || Some(ParameterChoice::StringParam("{}".into()));
        let bytes = || Some(ParameterChoice::BytesParam("hi".into()));
        let good = load_parameters(parameters(&[("config", text()), ("file:1/a", bytes())])).unwrap();
        assert_eq!((good.config.as_deref(), &good.files["1/a"][..]), (Some("{}"), &b"hi"[..]));
        for (name, choice, expected) in [
            ("config", bytes(), "invalid value type for load parameter 'config', expected string_param."),
            ("config", None, "invalid value type for load parameter 'config', expected string_param."),
            ("file:a", text(), "invalid value type for load parameter 'file:a', expected bytes_param."),
            ("foo", text(), "unrecognized load parameter 'foo'."),
        ] {
            let error = load_parameters(parameters(&[(name, choice)])).unwrap_err();
            assert_eq!((error.code(), error.message()), (nereid_core::ErrorCode::InvalidArg, expected));
        }
    }

    #[test]
    fn unload_dependents_is_a_boolean() {
        let given = |choice| unload_dependents(&parameters(&[("unload_dependents", choice)]));
        assert_eq!(unload_dependents(&BTreeMap::new()), Ok(false));
        assert_eq!(given(Some(ParameterChoice::BoolParam(true))), Ok(true));
        for choice in [None, Some(ParameterChoice::Int64Param(1))] {
            let error = given(choice).unwrap_err();
            assert_eq!(
                error.message(),
                "invalid value type for 'unload_dependents' parameter, expected bool_param."
            );
        }
    }
}
