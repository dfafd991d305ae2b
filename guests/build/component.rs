//! Makes a component of a core module.

use anyhow::{Context as _, Result, ensure};
use wit_component::ComponentEncoder;

/// Wraps a core module as a component of the world that its bindings describe in a custom
/// section, and validates the component.
pub fn encode(core_module: &[u8]) -> Result<Vec<u8>> {
    let (_, bindings) = wit_component::metadata::decode(core_module)
        .context("cannot read the description of its world: use versions of wit-bindgen and wit-component that match")?;
    let exports = &bindings.resolve.worlds[bindings.world].exports;
    ensure!(
        !exports.is_empty(),
        "it exports nothing: call its register or export macro"
    );
    ComponentEncoder::default()
        .validate(true)
        .module(core_module)
        .context("its core module does not match its world")?
        .encode()
        .context("its core module does not match its world")
}
