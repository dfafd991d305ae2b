use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

use hotswap_common::file;
use hotswap_core::Digest;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::load_error::LoadError;

/// Files in the cache. The oldest files above this number are removed; their artifacts
/// are compiled again when needed.
const MAX_FILES: usize = 256;

const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
const CORE_MODULE_HEADER: &[u8] = b"\0asm\x01\0\0\0";

/// Compiled artifacts on disk, one file per artifact, wasmtime version and CPU type: the
/// SHA-256 of the machine code, then the machine code.
pub(crate) struct CompiledCache {
    folder: PathBuf,
    /// Identifies what the machine code is compiled for: wasmtime's version and settings,
    /// and the CPU.
    compatibility_hash: String,
}

/// A component, loaded into both engines.
pub(crate) struct CompiledComponent {
    pub(crate) pooled: Component,
    pub(crate) on_demand: Component,
}

impl CompiledCache {
    /// Opens the cache in `folder`, which is created if absent.
    pub(crate) fn open(folder: &Path, engine: &Engine) -> io::Result<Self> {
        file::create_private_folder(folder)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            folder: folder.to_owned(),
            compatibility_hash: format!("{:016x}", hasher.finish()),
        })
    }

    /// Loads a compiled artifact; first compiles what `read` returns if the artifact is not
    /// in the cache. Blocks, and takes long when it compiles.
    pub(crate) fn load(
        &self,
        digest: Digest,
        [pooled, on_demand]: [&Engine; 2],
        read: impl FnOnce() -> io::Result<Vec<u8>>,
    ) -> Result<CompiledComponent, LoadError> {
        let path = self.folder.join(format!(
            "{}-{}.compiled",
            digest.hex(),
            self.compatibility_hash
        ));
        let load = |code: &[u8]| {
            Some(CompiledComponent {
                pooled: deserialize(pooled, code)?,
                on_demand: deserialize(on_demand, code)?,
            })
        };
        if let Some(compiled) = read_verified(&path).as_deref().and_then(load) {
            return Ok(compiled);
        }

        let artifact = read().map_err(LoadError::Read)?;
        if artifact.starts_with(CORE_MODULE_HEADER) {
            return Err(LoadError::CoreModule);
        }
        if !artifact.starts_with(COMPONENT_HEADER) {
            return Err(LoadError::NotWasm);
        }
        // An engine that compiles keeps the buffers of its compiler as long as it lives: some
        // megabytes for each thread. So one compiles that is dropped right after.
        let code = Engine::new(on_demand.config())
            .and_then(|compiler| compiler.precompile_component(&artifact))
            .map_err(LoadError::Compile)?;
        let mut content = Sha256::digest(&code).to_vec();
        content.extend_from_slice(&code);
        if let Err(error) = file::write_atomic(&path, &content) {
            tracing::warn!(%error, path = %path.display(), "cannot cache a compiled module");
        }
        self.remove_oldest_files();
        load(&code).ok_or_else(|| {
            LoadError::Compile(wasmtime::Error::msg("the compiled code does not load"))
        })
    }

    /// Removes the oldest files above [`MAX_FILES`]. Loaded modules do not need their file
    /// any more.
    fn remove_oldest_files(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        let mut files: Vec<_> = entries
            .flatten()
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        let excess = files.len().saturating_sub(MAX_FILES);
        files.sort();
        for (_, path) in files.into_iter().take(excess) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "cannot remove an old compiled module");
            }
        }
    }
}

/// The machine code in a file, or `None` if the file is absent, unreadable or damaged.
fn read_verified(path: &Path) -> Option<Vec<u8>> {
    let mut content = match file::read_if_exists(path) {
        Ok(content) => content?,
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "cannot read a compiled module");
            return None;
        }
    };
    let (checksum, code) = content.split_first_chunk::<32>()?;
    if Sha256::digest(code)[..] != checksum[..] {
        tracing::warn!(path = %path.display(), "a compiled module is damaged, compiling it again");
        return None;
    }
    content.drain(..32);
    Some(content)
}

/// Loads machine code whose checksum is correct. `None` if wasmtime finds that it was
/// compiled by another version of wasmtime, or for another CPU.
fn deserialize(engine: &Engine, code: &[u8]) -> Option<Component> {
    // SAFETY: `precompile_component` made the code, either just now or in an earlier
    // process that stored it with its checksum in a folder that only the node's own user
    // can write to.
    unsafe { Component::deserialize(engine, code) }.ok()
}
