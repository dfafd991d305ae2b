//! Which components pass the check for modules.

use hotswap_plugins::inspect;

use crate::component::{HandmadeStrategy, stub};

#[test]
fn sample_modules_are_accepted() {
    for guest in hotswap_guests::modules() {
        inspect::check_module(guest.component).unwrap();
    }
}

#[test]
fn component_without_a_request_handler_is_rejected_with_its_exports() {
    let strategy = inspect::check_module(&HandmadeStrategy::default().component()).unwrap_err();
    assert_eq!(
        strategy.to_string(),
        "the component does not export wasi:http/incoming-handler@0.2, through which a node \
         passes requests to a module; it exports hotswap:strategy/guest@0.1.0"
    );
    let other = stub("", "wasi:http/incoming-handler@0.3.0", &["handle"]);
    assert!(inspect::check_module(&other).is_err());
    let good = stub("", "wasi:http/incoming-handler@0.2.3", &["handle"]);
    inspect::check_module(&good).unwrap();
}

#[test]
fn truncated_component_is_rejected() {
    let good = stub("", "wasi:http/incoming-handler@0.2.3", &["handle"]);
    let name = b"wasi:http/incoming-handler@0.2.3";
    for length in 0..good.len() {
        let truncated = &good[..length];
        // Only names for debuggers follow the export, and they may be missing.
        let complete = truncated.windows(name.len()).any(|window| window == name);
        assert!(
            complete || inspect::check_module(truncated).is_err(),
            "{length}"
        );
    }
}
