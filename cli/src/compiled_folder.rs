//! The folder of compiled components, of engines and nodes alike.

use std::path::Path;

use anyhow::{Context as _, Result};
use hotswap_wasm::CompiledCache;

/// Opens it.
///
/// # Errors
/// As [`CompiledCache::open`]. Says how to name another folder.
pub fn open(folder: &Path) -> Result<CompiledCache> {
    CompiledCache::open(folder).with_context(|| {
        let folder = folder.display();
        format!(
            "cannot keep compiled components in {folder}: name another folder with --compiled-dir"
        )
    })
}
