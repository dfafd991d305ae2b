//! Every WebAssembly guest of this repository as an embedded component: the built-in
//! strategies and discovery backends, the sample modules, the example strategies and the guests of the tests.
//!
//! A guest is a workspace member in one of the folders `strategies`, `discovery`, `examples/modules`,
//! `examples/strategies` and `tests/guests`. The name of its folder is the name of the guest.
//! The build script compiles all guests for `wasm32-unknown-unknown`, so a new guest needs
//! only a new folder. `cargo xtask setup` installs the compiler.
//!
//! Each component is a constant. A program contains only the components that it uses:
//!
//! ```
//! let canary = hotswap_guests::strategies()
//!     .iter()
//!     .find(|guest| guest.name == "canary")
//!     .map(|guest| guest.component);
//! assert_eq!(canary, Some(hotswap_guests::CANARY));
//! ```

/// A guest with its embedded component.
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

    /// The preamble of a component. A core module has a different one.
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn every_guest_is_a_component() {
        for guest in [
            strategies(),
            discovery(),
            modules(),
            example_strategies(),
            tests(),
        ]
        .concat()
        {
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
        assert_eq!(names(discovery()), ["consul", "dns", "etcd", "kubernetes"]);
        assert_eq!(names(modules()), ["hello-v1", "hello-v2", "hello-v3"]);
    }

    #[test]
    fn components_do_not_contain_paths_of_the_build_machine() {
        let home = std::env::home_dir().map(|home| home.join(".cargo"));
        let home = home.expect("a home directory").display().to_string();
        for guest in [strategies(), discovery(), modules()].concat() {
            let contains_home = guest
                .component
                .windows(home.len())
                .any(|window| window == home.as_bytes());
            assert!(!contains_home, "{guest:?} contains {home}");
        }
    }
}
