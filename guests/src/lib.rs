//! Every WebAssembly guest of this repository as an embedded component: the
//! strategies that come with the engine, the sample modules, the example strategies
//! and what the tests run.
//!
//! A guest is a member of the workspace in one of the folders `strategies`,
//! `examples/modules`, `examples/strategies` and `tests/guests`; the folder's name is
//! the guest's name. The build script compiles all of them for
//! `wasm32-unknown-unknown`, so a new folder is all that a new guest needs. `cargo
//! xtask setup` installs the compiler for it.
//!
//! Each component is a constant, which a program that does not name it does not
//! carry:
//!
//! ```
//! let canary = hotswap_guests::strategies()
//!     .iter()
//!     .find(|guest| guest.name == "canary")
//!     .map(|guest| guest.component);
//! assert_eq!(canary, Some(hotswap_guests::CANARY));
//! ```

/// An embedded component.
#[derive(Clone, Copy)]
pub struct Guest {
    /// The name of its folder: `blue-green`.
    pub name: &'static str,
    /// The component's bytes.
    pub component: &'static [u8],
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest")
            .field("name", &self.name)
            .field("bytes", &self.component.len())
            .finish()
    }
}

include!(concat!(env!("OUT_DIR"), "/guests.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    /// The preamble that tells a component from a core module.
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn every_guest_is_a_component() {
        for guest in [strategies(), modules(), example_strategies(), tests()].concat() {
            assert!(guest.component.starts_with(COMPONENT), "{guest:?}");
        }
    }

    #[test]
    fn strategies_and_modules_are_listed_by_name() {
        let names = |guests: &[Guest]| guests.iter().map(|guest| guest.name).collect::<Vec<_>>();
        assert_eq!(
            names(strategies()),
            ["blue-green", "canary", "direct", "rolling"]
        );
        assert_eq!(names(modules()), ["hello-v1", "hello-v2", "hello-v3"]);
    }

    #[test]
    fn no_path_of_the_building_machine_is_embedded() {
        let home = std::env::home_dir().map(|home| home.join(".cargo"));
        let home = home.expect("a home directory").display().to_string();
        for guest in [strategies(), modules()].concat() {
            let found = guest
                .component
                .windows(home.len())
                .any(|window| window == home.as_bytes());
            assert!(!found, "{guest:?} names {home}");
        }
    }
}
