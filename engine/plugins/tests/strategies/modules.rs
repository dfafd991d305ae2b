//! What a node can run.

use hotswap_plugins::inspect;

use crate::component::{Handmade, shell};

#[test]
fn the_sample_modules_are_modules() {
    for guest in hotswap_guests::modules() {
        inspect::module(guest.component).unwrap();
    }
}

#[test]
fn what_answers_no_requests_is_refused_with_what_it_exports_instead() {
    let strategy = inspect::module(&Handmade::default().component()).unwrap_err();
    assert_eq!(
        strategy.to_string(),
        "it exports no wasi:http/incoming-handler@0.2, by which a node passes requests to a \
         module; it exports hotswap:strategy/guest@0.1.0"
    );
    let other = shell("", "wasi:http/incoming-handler@0.3.0", &["handle"]);
    assert!(inspect::module(&other).is_err());
    let good = shell("", "wasi:http/incoming-handler@0.2.3", &["handle"]);
    inspect::module(&good).unwrap();
}

#[test]
fn damage_is_found_wherever_it_is() {
    let good = shell("", "wasi:http/incoming-handler@0.2.3", &["handle"]);
    let name = b"wasi:http/incoming-handler@0.2.3";
    for length in 0..good.len() {
        let part = &good[..length];
        // What comes after the export are names for debuggers, which may be missing.
        let whole = part.windows(name.len()).any(|window| window == name);
        assert!(whole || inspect::module(part).is_err(), "{length}");
    }
}
