use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

use hotswap_core::Digest;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::folder;

/// Files that are kept. The oldest beyond are removed; one that is needed again is
/// compiled again.
const KEPT: usize = 256;

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// Compiled artifacts on disk, one file for each artifact, version of wasmtime and kind
/// of CPU: the SHA-256 of the machine code, then the machine code.
pub(crate) struct Cache {
    folder: PathBuf,
    /// Tells what the machine code fits: wasmtime's version, its settings and the CPU.
    fits: String,
}

/// A component in both engines.
pub(crate) struct Compiled {
    pub(crate) pooled: Component,
    pub(crate) spare: Component,
}

/// Why an artifact cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read from disk.
    #[error("cannot read the artifact")]
    Read(#[source] io::Error),
    /// It is WebAssembly, but not a component.
    #[error(
        "the artifact is a core module, not a component: make one of it with `wasm-tools component new`"
    )]
    CoreModule,
    /// It is anything else.
    #[error("the artifact is no WebAssembly component")]
    NotWasm,
    /// It cannot be compiled.
    #[error("the component does not compile")]
    Compile(#[source] wasmtime::Error),
    /// It asks for something that nodes do not give.
    #[error("the component imports what nodes do not provide")]
    Imports(#[source] wasmtime::Error),
    /// It does not answer requests.
    #[error("the component does not export wasi:http/incoming-handler@0.2")]
    Exports(#[source] wasmtime::Error),
    /// It traps before its first request, or wants more memory than it may have.
    #[error("the component does not start")]
    Start(#[source] wasmtime::Error),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Interrupted,
}

impl Cache {
    /// In `folder`, which is made if absent.
    pub(crate) fn new(folder: &Path, engine: &Engine) -> io::Result<Self> {
        folder::create(folder)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            folder: folder.to_owned(),
            fits: format!("{:016x}", hasher.finish()),
        })
    }

    /// Takes long where the artifact was not compiled yet: to be called off the
    /// asynchronous threads.
    pub(crate) fn load(
        &self,
        digest: Digest,
        [pooled, spare]: [&Engine; 2],
        read: impl FnOnce() -> io::Result<Vec<u8>>,
    ) -> Result<Compiled, Error> {
        let path = self
            .folder
            .join(format!("{}-{}.compiled", digest.hex(), self.fits));
        let load = |code: &[u8]| {
            Some(Compiled {
                pooled: trusted(pooled, code)?,
                spare: trusted(spare, code)?,
            })
        };
        if let Some(compiled) = self.checked(&path).as_deref().and_then(load) {
            return Ok(compiled);
        }

        let artifact = read().map_err(Error::Read)?;
        if artifact.starts_with(CORE_MODULE) {
            return Err(Error::CoreModule);
        }
        if !artifact.starts_with(COMPONENT) {
            return Err(Error::NotWasm);
        }
        let code = pooled
            .precompile_component(&artifact)
            .map_err(Error::Compile)?;
        let mut file = Sha256::digest(&code).to_vec();
        file.extend_from_slice(&code);
        if let Err(error) = folder::write(&path, &file) {
            tracing::warn!(%error, path = %path.display(), "cannot keep a compiled module");
        }
        self.trim();
        load(&code)
            .ok_or_else(|| Error::Compile(wasmtime::Error::msg("the compiled code does not load")))
    }

    /// The machine code in a file, where it is whole.
    fn checked(&self, path: &Path) -> Option<Vec<u8>> {
        let mut file = match folder::read(path) {
            Ok(file) => file?,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "cannot read a compiled module");
                return None;
            }
        };
        let (sum, code) = file.split_first_chunk::<32>()?;
        if Sha256::digest(code)[..] != sum[..] {
            tracing::warn!(path = %path.display(), "a compiled module is damaged, compiling it again");
            return None;
        }
        file.drain(..32);
        Some(file)
    }

    /// Removes the oldest files beyond [`KEPT`]. One that is in use is not needed any
    /// more once it is loaded.
    fn trim(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        let mut files: Vec<_> = entries
            .flatten()
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        let excess = files.len().saturating_sub(KEPT);
        files.sort();
        for (_, path) in files.into_iter().take(excess) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "cannot remove an old compiled module");
            }
        }
    }
}

/// Loads machine code whose SHA-256 was right; `None` where wasmtime finds that it was
/// made by another version of itself, or for another CPU.
fn trusted(engine: &Engine, code: &[u8]) -> Option<Component> {
    // SAFETY: the code was made by `precompile_component`, either just now or by an
    // earlier process that kept it, with its checksum, in a folder that nobody but the
    // node's own user can write to.
    unsafe { Component::deserialize(engine, code) }.ok()
}
