//! From a core module to a component.

use anyhow::{Context as _, Result, ensure};
use wit_component::ComponentEncoder;

/// Wraps a core module by the world that its bindings left in a custom section, and
/// checks the result.
pub fn encode(core: &[u8]) -> Result<Vec<u8>> {
    let (_, bindings) = wit_component::metadata::decode(core)
        .context("its description of its world cannot be read: the versions of wit-bindgen and wit-component do not fit")?;
    let exports = &bindings.resolve.worlds[bindings.world].exports;
    ensure!(
        !exports.is_empty(),
        "it exports nothing: its register or export macro is missing"
    );
    ComponentEncoder::default()
        .validate(true)
        .module(core)
        .context("its core module does not fit its world")?
        .encode()
        .context("its core module does not fit its world")
}
