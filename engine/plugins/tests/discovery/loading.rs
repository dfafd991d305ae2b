//! Which components are accepted as discovery backends.

use hotswap_plugins::discovery::{BackendLimits, DiscoveryHost, SecretPlace};
use hotswap_plugins::{Host, Limits, LoadError};

#[tokio::test]
async fn the_backends_of_the_engine_load_and_describe_themselves() {
    let host = DiscoveryHost::new(BackendLimits::default()).expect("it starts");
    for guest in hotswap_guests::discovery() {
        let backend = host.load(guest.component).await.expect(guest.name);
        let descriptor = backend.descriptor();
        assert_eq!(descriptor.name, guest.name);
        let registers = ["consul", "etcd"].contains(&guest.name);
        assert_eq!(descriptor.can_register, registers, "{}", guest.name);
        assert_eq!(backend.wit_version().to_string(), "0.1.0");
        backend.configure(None).expect("the defaults are valid");
        let again = host.load(guest.component).await.expect(guest.name);
        assert_eq!(again.digest(), backend.digest());
    }
    let etcd = host.load(hotswap_guests::ETCD).await.expect("it loads");
    let place = &etcd.descriptor().secrets[0].place;
    assert_eq!(
        *place,
        SecretPlace::Body("/v3/auth/authenticate".to_owned())
    );
}

#[tokio::test]
async fn a_strategy_is_no_backend_and_a_backend_no_strategy() {
    let host = DiscoveryHost::new(BackendLimits::default()).expect("it starts");
    let error = host
        .load(hotswap_guests::CANARY)
        .await
        .expect_err("a strategy");
    let text = error.to_string();
    assert!(
        text.contains("which a discovery backend cannot use"),
        "{text}"
    );
    let host = Host::new(Limits::default()).expect("it starts");
    let error = host
        .load(hotswap_guests::CONSUL)
        .await
        .expect_err("a backend");
    assert!(
        matches!(error, LoadError::ForbiddenImport { .. }),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("which a strategy cannot use"),
        "{error}"
    );
}

#[tokio::test]
async fn a_module_is_no_backend() {
    let host = DiscoveryHost::new(BackendLimits::default()).expect("it starts");
    let error = host
        .load(hotswap_guests::HELLO_V3)
        .await
        .expect_err("a module");
    assert!(
        matches!(
            error,
            LoadError::ForbiddenImport { .. } | LoadError::MissingExport { .. }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_backend_reaches_nothing_but_servers_names_and_the_clock() {
    let host = DiscoveryHost::new(BackendLimits::default()).expect("it starts");
    for import in [
        "wasi:sockets/tcp@0.2.0",
        "wasi:filesystem/types@0.2.0",
        "wasi:random/random@0.2.0",
        "wasi:http/incoming-handler@0.2.0",
        "hotswap:strategy/fleet@0.1.0",
    ] {
        let text = format!("(component (import \"{import}\" (instance)))");
        let component = wat::parse_str(text).expect("a component");
        let error = host.load(&component).await.expect_err(import).to_string();
        assert!(
            error.contains(&format!(
                "imports {import}, which a discovery backend cannot use"
            )),
            "{error}"
        );
    }
}
