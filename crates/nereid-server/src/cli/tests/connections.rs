//! TLS and the life of connections on the command line.

use super::*;

#[test]
fn tls_of_an_endpoint() {
    let files = ["server-cert=c", "server-key=k", "root-cert=r"];
    for (endpoint, of) in [("http", |o: Options| o.http.tls), ("grpc", |o: Options| o.grpc.tls)]
        as [(&str, fn(Options) -> TlsOptions); 2]
    {
        let files = files.map(|file| format!("--{endpoint}-{file}"));
        let tls = |flags: &[&str]| {
            let flags: Vec<_> = flags.iter().map(|flag| format!("--{endpoint}-{flag}")).collect();
            of(options(&flags.iter().chain(&files).map(String::as_str).collect::<Vec<_>>()))
        };
        let expected = |enabled, mutual| TlsOptions {
            enabled,
            mutual,
            certificate: "c".to_owned(),
            key: "k".to_owned(),
            roots: "r".to_owned(),
        };
        assert_eq!(tls(&["use-ssl"]), expected(true, false));
        assert_eq!(tls(&["use-ssl-mutual=1"]), expected(false, true));
        assert!(tls(&["use-ssl-mutual", "use-ssl=false"]).wanted());
        assert!(!tls(&[]).wanted() && !tls(&["use-ssl=off", "use-ssl-mutual=0"]).wanted());
    }
}

#[test]
fn connections_of_the_grpc_endpoint() {
    let of = |flags: &[&str]| options(flags).grpc;
    let grpc =
        of(&["--grpc-keepalive-time=10000", "--grpc-keepalive-timeout=-3", "--grpc-max-connection-age=5"]);
    let expected = ConnectionOptions {
        keepalive_time_ms: 10_000,
        keepalive_timeout_ms: 1,
        max_age_ms: Some(5),
        max_age_grace_ms: None,
    };
    assert_eq!(grpc.connections, expected);
    for (text, expected) in [("0", None), ("-1", None), ("2147483647", Some(i32::MAX.unsigned_abs()))] {
        let grpc = of(&[&format!("--grpc-max-connection-age-grace={text}")]);
        assert_eq!(grpc.connections.max_age_grace_ms, expected, "{text}");
    }
    for (text, expected) in [
        ("NONE", CompressionLevel::None),
        ("low", CompressionLevel::Low),
        ("Medium", CompressionLevel::Medium),
        ("high", CompressionLevel::High),
    ] {
        assert_eq!(of(&[&format!("--grpc-infer-response-compression-level={text}")]).compression, expected);
    }
}
