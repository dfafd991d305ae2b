//! Which components are rejected, and with which reasons.

use hotswap_plugins::{Host, Limits, LoadError, inspect};

use crate::component::{HandmadeStrategy, stub};
use crate::script::host;

const GUEST: &str = "hotswap:strategy/guest@0.1.0";

async fn rejection(host: &Host, component: &[u8]) -> String {
    match host.load(component).await {
        Ok(strategy) => panic!("loaded {strategy:?}"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn built_in_strategies_are_loaded() {
    let host = host();
    for guest in hotswap_guests::strategies() {
        let strategy = host.load(guest.component).await.unwrap();
        assert_eq!(strategy.descriptor().name.as_str(), guest.name);
        assert_eq!(strategy.wit_version().to_string(), "0.1.0");
        assert_eq!(strategy.digest(), hotswap_core::Digest::of(guest.component));
        assert!(!strategy.descriptor().summary.is_empty());
        strategy.configure(None).unwrap();
    }
}

#[tokio::test]
async fn component_for_a_later_patch_version_of_the_contract_is_loaded() {
    let host = host();
    let later = HandmadeStrategy {
        wit_version: "0.1.9",
        imports: r#"(import "hotswap:strategy/control@0.1.9" "now" (func $now (result i64)))"#,
        run: "(drop (call $now))",
        ..HandmadeStrategy::default()
    };
    let strategy = host.load(&later.component()).await.unwrap();
    assert_eq!(strategy.wit_version().to_string(), "0.1.9");
    let plan = crate::script::plan("{}");
    let mut script = crate::script::Script::default();
    let exit = strategy.run(&plan, &mut script).await;
    assert_eq!(exit, hotswap_plugins::Exit::Succeeded);
    assert_eq!(script.calls, [hotswap_core::Call::Now]);
}

#[tokio::test]
async fn unusable_component_is_rejected_with_advice() {
    let host = host();
    let module = hotswap_guests::modules()[0].component;
    let mut damaged = HandmadeStrategy::default().component();
    damaged.truncate(damaged.len() / 2);
    for (component, reasons) in [
        (
            b"PK\x03\x04 an archive".to_vec(),
            &["not a WebAssembly component"][..],
        ),
        (Vec::new(), &["not a WebAssembly component"]),
        (
            b"\n(component)".to_vec(),
            &["WebAssembly text", "wasm-tools parse"],
        ),
        (
            b"\0asm\x01\0\0\0".to_vec(),
            &["a core module, not a component", "wasm-tools component new"],
        ),
        (damaged, &["not a valid component"]),
        (
            b"\0asm\x0d\0\x01\0".to_vec(),
            &[
                "does not export hotswap:strategy/guest@0.1",
                "exports nothing",
            ],
        ),
        (
            module.to_vec(),
            &[
                "the component imports wasi:",
                "which a strategy cannot use",
                "fleet, analysis and control",
            ],
        ),
        (
            stub(
                r#"(import "wasi:filesystem/types@0.2.0" (instance))"#,
                GUEST,
                &["describe", "run"],
            ),
            &["the component imports wasi:filesystem/types@0.2.0, which a strategy cannot use"],
        ),
        (
            stub(r#"(import "log" (func))"#, GUEST, &["describe", "run"]),
            &["the component imports log, which a strategy cannot use"],
        ),
        (
            stub(
                r#"(import "hotswap:strategy/secrets@0.1.0" (instance))"#,
                GUEST,
                &["describe", "run"],
            ),
            &["the component imports hotswap:strategy/secrets@0.1.0, which a strategy cannot use"],
        ),
        (
            stub(
                r#"(import "hotswap:strategy/fleet@0.2.0" (instance))"#,
                GUEST,
                &["describe", "run"],
            ),
            &["imports hotswap:strategy/fleet@0.2.0, but this engine supports version 0.1.0"],
        ),
        (
            stub(
                r#"(import "hotswap:strategy/fleet@0.1.4" (instance (export "drain" (func))))"#,
                GUEST,
                &["describe", "run"],
            ),
            &[
                "the component imports drain of hotswap:strategy/fleet@0.1.4",
                "supports version 0.1.0",
            ],
        ),
        (
            stub(
                r#"(import "hotswap:strategy/control@0.1.0"
                    (instance (export "now" (func (result string)))))"#,
                GUEST,
                &["describe", "run"],
            ),
            &[
                "the imports of the component do not match hotswap:strategy@0.1",
                "now",
            ],
        ),
        (
            stub("", "hotswap:strategy/guest@1.0.0", &["describe", "run"]),
            &["exports hotswap:strategy/guest@1.0.0, but this engine supports version 0.1.0"],
        ),
        (
            stub("", "acme:rollout/guest@0.1.0", &["describe", "run"]),
            &[
                "does not export hotswap:strategy/guest@0.1",
                "exports acme:rollout/guest@0.1.0",
            ],
        ),
        (
            stub("", GUEST, &["describe"]),
            &["the types of describe in hotswap:strategy/guest@0.1.0 do not match version 0.1.0"],
        ),
        (
            stub("", GUEST, &["run"]),
            &["the component exports hotswap:strategy/guest@0.1.0 without its function describe"],
        ),
    ] {
        let rejection = rejection(&host, &component).await;
        for reason in reasons {
            assert!(
                rejection.contains(reason),
                "{reason:?} is not in {rejection:?}"
            );
        }
    }
}

#[tokio::test]
async fn unusable_description_is_rejected() {
    let host = Host::new(Limits {
        fuel: 20_000_000,
        pooled_runs: 8,
        ..Limits::default()
    })
    .unwrap();
    let schema = r#"{"type":"object"}"#;
    for (handmade, reason) in [
        (
            HandmadeStrategy {
                imports: r#"(import "hotswap:strategy/control@0.1.0" "now"
                    (func $now (result i64)))"#,
                describe: "(drop (call $now))",
                ..HandmadeStrategy::default()
            },
            "describe failed: it calls control.now, but describe may not make calls",
        ),
        (
            HandmadeStrategy {
                describe: "(loop $l (br $l))",
                ..HandmadeStrategy::default()
            },
            "describe failed: the strategy ran 20 million instructions without a call",
        ),
        (
            HandmadeStrategy {
                describe: "unreachable",
                ..HandmadeStrategy::default()
            },
            "describe failed: the strategy crashed: it executed an `unreachable` instruction",
        ),
        (
            HandmadeStrategy {
                pages: 2000,
                ..HandmadeStrategy::default()
            },
            "the component cannot be compiled: ",
        ),
        (
            HandmadeStrategy {
                descriptor: ["Not A Name", "1.0.0", "", schema],
                ..HandmadeStrategy::default()
            },
            "describe returned an invalid name: ",
        ),
        (
            HandmadeStrategy {
                descriptor: ["handmade", "v1", "", schema],
                ..HandmadeStrategy::default()
            },
            "describe returned the version \"v1\", which is not a semantic version",
        ),
        (
            HandmadeStrategy {
                descriptor: [
                    "handmade",
                    "1.0.0",
                    "",
                    r#"{"type":"object","properties":{"a":{}}}"#,
                ],
                ..HandmadeStrategy::default()
            },
            "describe returned an invalid configuration schema: the property /a has no \
             description",
        ),
    ] {
        let rejection = rejection(&host, &handmade.component()).await;
        assert!(rejection.starts_with(reason), "{reason:?}: {rejection:?}");
    }
    assert_eq!(host.pooled_instances(), 0);
}

/// A disk or memory that is full makes a compilation fail too, and passes. Code that is not valid
/// does not become so.
#[tokio::test]
async fn invalid_code_is_told_apart_from_a_compilation_that_fails() {
    let handmade = HandmadeStrategy {
        describe: "(drop (i32.const 123456789))",
        ..HandmadeStrategy::default()
    };
    let mut component = handmade.component();
    let drop = [0x41, 0x95, 0x9a, 0xef, 0x3a, 0x1a];
    let is_drop = |window: &[u8]| window == drop;
    let found = component.windows(drop.len()).position(is_drop).unwrap();
    // An addition of floating-point numbers, of which there is none.
    component[found + drop.len() - 1] = 0x92;
    let error = host().load(&component).await.unwrap_err();
    let invalid = matches!(error, LoadError::NotAComponent(inspect::Error::Invalid(_)));
    assert!(invalid, "{error}");
}

#[tokio::test]
async fn oversized_component_is_rejected_before_it_is_read() {
    let host = Host::new(Limits {
        component_bytes: 1000,
        pooled_runs: 1,
        ..Limits::default()
    })
    .unwrap();
    let rejection = rejection(&host, &[0; 1001]).await;
    assert!(rejection.starts_with("the component has 1001 bytes; at most 1000 are allowed"));
}
