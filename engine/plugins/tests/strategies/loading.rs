//! What is refused at the door, and why.

use std::time::Duration;

use hotswap_plugins::{Host, Limits};

use crate::component::{Handmade, shell};
use crate::script::host;

const GUEST: &str = "hotswap:strategy/guest@0.1.0";

async fn refusal(host: &Host, component: &[u8]) -> String {
    match host.load(component).await {
        Ok(strategy) => panic!("loaded {strategy:?}"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn what_came_with_the_engine_is_loaded() {
    let host = host();
    for guest in hotswap_guests::strategies() {
        let strategy = host.load(guest.component).await.unwrap();
        assert_eq!(strategy.descriptor().name.as_str(), guest.name);
        assert_eq!(strategy.wit().to_string(), "0.1.0");
        assert_eq!(strategy.digest(), hotswap_core::Digest::of(guest.component));
        assert!(!strategy.descriptor().summary.is_empty());
        strategy.configure(None).unwrap();
    }
}

#[tokio::test]
async fn a_guest_of_a_later_patch_of_the_contract_is_loaded() {
    let host = host();
    let later = Handmade {
        wit: "0.1.9",
        imports: r#"(import "hotswap:strategy/control@0.1.9" "now" (func $now (result i64)))"#,
        run: "(drop (call $now))",
        ..Handmade::default()
    };
    let strategy = host.load(&later.component()).await.unwrap();
    assert_eq!(strategy.wit().to_string(), "0.1.9");
    let plan = crate::script::plan("{}");
    let mut script = crate::script::Script::default();
    let exit = strategy.run(&plan, &mut script).await;
    assert_eq!(exit, hotswap_plugins::Exit::Succeeded);
    assert_eq!(script.calls, [hotswap_core::Call::Now]);
}

#[tokio::test]
async fn what_is_no_strategy_is_refused_with_what_to_do() {
    let host = host();
    let module = hotswap_guests::modules()[0].component;
    let mut damaged = Handmade::default().component();
    damaged.truncate(damaged.len() / 2);
    for (component, reasons) in [
        (b"PK\x03\x04 an archive".to_vec(), &["not WebAssembly"][..]),
        (Vec::new(), &["not WebAssembly"]),
        (b"\n(component)".to_vec(), &["as text", "wasm-tools parse"]),
        (
            b"\0asm\x01\0\0\0".to_vec(),
            &[
                "a core module and not a component",
                "wasm-tools component new",
            ],
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
                "it imports wasi:",
                "which a strategy cannot have",
                "fleet, analysis and control",
            ],
        ),
        (
            shell(
                r#"(import "wasi:filesystem/types@0.2.0" (instance))"#,
                GUEST,
                &["describe", "run"],
            ),
            &["it imports wasi:filesystem/types@0.2.0, which a strategy cannot have"],
        ),
        (
            shell(r#"(import "log" (func))"#, GUEST, &["describe", "run"]),
            &["it imports log, which a strategy cannot have"],
        ),
        (
            shell(
                r#"(import "hotswap:strategy/secrets@0.1.0" (instance))"#,
                GUEST,
                &["describe", "run"],
            ),
            &["it imports hotswap:strategy/secrets@0.1.0, which a strategy cannot have"],
        ),
        (
            shell(
                r#"(import "hotswap:strategy/fleet@0.2.0" (instance))"#,
                GUEST,
                &["describe", "run"],
            ),
            &["it imports hotswap:strategy/fleet@0.2.0, and this engine offers version 0.1.0"],
        ),
        (
            shell(
                r#"(import "hotswap:strategy/fleet@0.1.4" (instance (export "drain" (func))))"#,
                GUEST,
                &["describe", "run"],
            ),
            &[
                "it imports drain of hotswap:strategy/fleet@0.1.4",
                "offers version 0.1.0",
            ],
        ),
        (
            shell(
                r#"(import "hotswap:strategy/control@0.1.0"
                    (instance (export "now" (func (result string)))))"#,
                GUEST,
                &["describe", "run"],
            ),
            &[
                "its imports differ from those of hotswap:strategy@0.1",
                "now",
            ],
        ),
        (
            shell("", "hotswap:strategy/guest@1.0.0", &["describe", "run"]),
            &["it exports hotswap:strategy/guest@1.0.0, and this engine offers version 0.1.0"],
        ),
        (
            shell("", "acme:rollout/guest@0.1.0", &["describe", "run"]),
            &[
                "does not export hotswap:strategy/guest@0.1",
                "exports acme:rollout/guest@0.1.0",
            ],
        ),
        (
            shell("", GUEST, &["describe"]),
            &["its describe of hotswap:strategy/guest@0.1.0 has other types than version 0.1.0"],
        ),
        (
            shell("", GUEST, &["run"]),
            &["its hotswap:strategy/guest@0.1.0 has no function describe"],
        ),
    ] {
        let refusal = refusal(&host, &component).await;
        for reason in reasons {
            assert!(refusal.contains(reason), "{reason:?} is not in {refusal:?}");
        }
    }
}

#[tokio::test]
async fn a_describe_that_does_not_do_is_refused() {
    let host = Host::new(Limits {
        compute: Duration::from_millis(50),
        pooled: 8,
        ..Limits::default()
    })
    .unwrap();
    let schema = r#"{"type":"object"}"#;
    for (handmade, reason) in [
        (
            Handmade {
                imports: r#"(import "hotswap:strategy/control@0.1.0" "now"
                    (func $now (result i64)))"#,
                describe: "(drop (call $now))",
                ..Handmade::default()
            },
            "its describe fails: it calls control.now, and it may call nothing",
        ),
        (
            Handmade {
                describe: "(loop $l (br $l))",
                ..Handmade::default()
            },
            "its describe fails: the strategy ran for 50 ms without a call",
        ),
        (
            Handmade {
                describe: "unreachable",
                ..Handmade::default()
            },
            "its describe fails: the strategy crashed: it came to code that it declares",
        ),
        (
            Handmade {
                pages: 2000,
                ..Handmade::default()
            },
            "it cannot be compiled: ",
        ),
        (
            Handmade {
                says: ["Not A Name", "1.0.0", "", schema],
                ..Handmade::default()
            },
            "its describe returns a name that is none: ",
        ),
        (
            Handmade {
                says: ["handmade", "v1", "", schema],
                ..Handmade::default()
            },
            "its describe returns the version \"v1\", which is not semantic",
        ),
        (
            Handmade {
                says: [
                    "handmade",
                    "1.0.0",
                    "",
                    r#"{"type":"object","properties":{"a":{}}}"#,
                ],
                ..Handmade::default()
            },
            "its describe returns a schema of its configuration that does not do: the property \
             /a has no description",
        ),
    ] {
        let refusal = refusal(&host, &handmade.component()).await;
        assert!(refusal.starts_with(reason), "{reason:?}: {refusal:?}");
    }
    assert_eq!(host.pooled(), 0);
}

#[tokio::test]
async fn a_component_that_is_too_large_is_not_even_read() {
    let host = Host::new(Limits {
        component: 1000,
        pooled: 1,
        ..Limits::default()
    })
    .unwrap();
    let refusal = refusal(&host, &[0; 1001]).await;
    assert!(refusal.starts_with("it has 1001 bytes, and a strategy may have 1000"));
}
