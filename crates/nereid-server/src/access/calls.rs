//! Which calls have a line: inference and model control. What matches no route of these has none.

use std::net::SocketAddr;

use http::request::Parts;

use super::request::Caller;
use crate::serve::Protocol;
use crate::trace::TraceContext;

const INFERENCE: [&str; 3] = ["infer", "generate", "generate_stream"];
const CONTROL: [&str; 2] = ["load", "unload"];
const SERVICE: &str = "/inference.GRPCInferenceService/";
const RPCS: [&str; 4] = ["ModelInfer", "ModelStreamInfer", "RepositoryModelLoad", "RepositoryModelUnload"];

/// The rpc whose requests have a line each, and itself none.
pub(super) const STREAM: &str = RPCS[1];

/// A call that has a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call<'p> {
    pub(super) name: &'static str,
    /// The model in the path; empty over gRPC.
    pub(super) model: &'p str,
}

impl<'p> Call<'p> {
    /// The call that `path` stands for.
    pub(super) fn of(protocol: Protocol, path: &'p str) -> Option<Self> {
        match protocol {
            Protocol::Http1 => http(path),
            Protocol::Http2 => {
                let rpc = path.strip_prefix(SERVICE)?;
                Some(Self { name: RPCS.into_iter().find(|name| *name == rpc)?, model: "" })
            }
        }
    }

    /// Who made it.
    pub(super) fn caller(&self, protocol: Protocol, client: Option<SocketAddr>, head: &Parts) -> Caller {
        Caller { protocol, call: self.name, client, trace: TraceContext::of(&head.headers) }
    }
}

/// `/v2/models/{model}[/versions/{version}]/infer` and the like, `/v2/repository[/{name}]/models/{model}/load`.
fn http(path: &str) -> Option<Call<'_>> {
    let (rest, last) = path.strip_prefix("/v2/")?.rsplit_once('/')?;
    let among = |names: &[&'static str]| names.iter().copied().find(|name| *name == last);
    if let Some(rest) = rest.strip_prefix("models/") {
        let model = rest.split('/').next()?;
        return among(&INFERENCE).map(|name| Call { name, model });
    }
    let (above, model) = rest.strip_prefix("repository/")?.rsplit_once('/')?;
    (above.split('/').next_back() == Some("models"))
        .then(|| among(&CONTROL))
        .flatten()
        .map(|name| Call { name, model })
}

#[cfg(test)]
mod tests {
    use nereid_protocol::FILE_DESCRIPTOR_SET;
    use prost_reflect::DescriptorPool;

    use super::*;

    #[test]
    fn paths() {
        for (path, expected) in [
            ("/v2/models/m/infer", Some(("infer", "m"))),
            ("/v2/models/m/versions/3/infer", Some(("infer", "m"))),
            ("/v2/models/m%20x/generate", Some(("generate", "m%20x"))),
            ("/v2/models/infer/generate_stream", Some(("generate_stream", "infer"))),
            ("/v2/repository/models/m/load", Some(("load", "m"))),
            ("/v2/repository/r/models/m/unload", Some(("unload", "m"))),
            ("/v2/models/infer", None),
            ("/v2/models/load/ready", None),
            ("/v2/models/m/load", None),
            ("/v2/models/m/config", None),
            ("/v2/repository/m/load", None),
            ("/v2/repository/models/infer", None),
            ("/v2/repository/index", None),
            ("/v2/health/ready", None),
            ("/infer", None),
            ("", None),
        ] {
            let expected = expected.map(|(name, model)| Call { name, model });
            assert_eq!(Call::of(Protocol::Http1, path), expected, "{path}");
        }
    }

    #[test]
    fn rpcs() {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        let service = pool.get_service_by_name("inference.GRPCInferenceService").unwrap();
        let paths = service.methods().map(|method| format!("/{}/{}", service.full_name(), method.name()));
        let known = paths.filter_map(|path| Some(Call::of(Protocol::Http2, &path)?.name)).collect::<Vec<_>>();
        assert_eq!(known.len(), RPCS.len(), "{known:?}");
        for path in ["/grpc.health.v1.Health/Check", "/inference.GRPCInferenceService/", "/v2/models/m/infer"]
        {
            assert_eq!(Call::of(Protocol::Http2, path), None, "{path}");
        }
        assert_eq!(STREAM, "ModelStreamInfer");
    }
}
