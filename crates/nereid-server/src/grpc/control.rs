//! `RepositoryModelLoad` and `RepositoryModelUnload`.

use std::sync::Arc;

use nereid_core::{Error, Result};
use nereid_protocol::inference::model_repository_parameter::ParameterChoice;
use nereid_protocol::inference::{
    RepositoryModelLoadRequest, RepositoryModelLoadResponse, RepositoryModelUnloadRequest,
    RepositoryModelUnloadResponse,
};

use super::{Answer, answer};
use crate::service::Service;

/// Loads a model and answers when it serves.
pub(super) async fn load(
    service: Arc<Service>,
    request: RepositoryModelLoadRequest,
) -> Answer<RepositoryModelLoadResponse> {
    let RepositoryModelLoadRequest { repository_name, model_name, parameters } = request;
    let checked = unnamed(&repository_name).and_then(|()| match parameters.keys().next() {
        None => Ok(()),
        Some(name) if name == "config" || name.starts_with("file:") => {
            Err(Error::unsupported(format!("load parameter '{name}' is not supported yet")))
        }
        Some(name) => Err(Error::invalid_arg(format!("unrecognized load parameter '{name}'."))),
    });
    let loaded = match checked {
        Ok(()) => service.off_the_loop(move |service| service.repository().load_model(&model_name)).await,
        Err(e) => Err(e),
    };
    answer(loaded.map(|()| RepositoryModelLoadResponse {}))
}

/// Takes a model out of service and answers before its last requests are done.
pub(super) async fn unload(
    service: Arc<Service>,
    request: RepositoryModelUnloadRequest,
) -> Answer<RepositoryModelUnloadResponse> {
    let RepositoryModelUnloadRequest { repository_name, model_name, parameters } = request;
    let dependents = parameters.get("unload_dependents").map(|p| &p.parameter_choice);
    let checked = unnamed(&repository_name).and_then(|()| match dependents {
        None | Some(Some(ParameterChoice::BoolParam(_))) => Ok(()), // there are no dependents without ensembles
        Some(_) => Err(Error::invalid_arg(
            "invalid value type for 'unload_dependents' parameter, expected bool_param.",
        )),
    });
    let unloaded = match checked {
        Ok(()) => service.off_the_loop(move |service| service.repository().unload_model(&model_name)).await,
        Err(e) => Err(e),
    };
    answer(unloaded.map(|()| RepositoryModelUnloadResponse {}))
}

fn unnamed(repository: &str) -> Result<()> {
    if repository.is_empty() {
        Ok(())
    } else {
        Err(Error::unsupported("'repository_name' specification is not supported"))
    }
}
