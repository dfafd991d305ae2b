use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hotswap_common::file;
use hotswap_core::Digest;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use wasmtime::{Config, Engine, InstanceAllocationStrategy};

/// Files in a cache. Those above this number that were not used for longest are removed; their
/// components are compiled again when needed.
const MAX_FILES: usize = 256;

/// The extension of the files in a cache.
const EXTENSION: &str = "compiled";

/// The permission of users who neither own a folder nor are in its group.
const WRITABLE_BY_ALL: u32 = 0o002;

/// Compiled components on disk: one file for each component, settings of the compiler, version of
/// wasmtime and type of CPU. It holds the SHA-256 of the machine code, then the machine code.
///
/// Several processes of one user may use a folder at the same time, whatever they compile. No other
/// user may be able to write to it: its files are run as machine code, and the checksum finds damage,
/// not forgery. A folder to which all users can write is refused; who else is in the folder's group,
/// or owns it, is not looked at. Files with other names are left alone.
///
/// Without a folder, it keeps nothing, and each component is compiled.
#[derive(Debug, Clone, Default)]
pub struct CompiledCache {
    folder: Option<PathBuf>,
}

impl CompiledCache {
    /// Opens the cache in `folder`. If that is absent, it is created, for its owner only.
    ///
    /// # Errors
    /// If the folder cannot be created or looked at, or if all users can write to it.
    pub fn open(folder: &Path) -> io::Result<Self> {
        file::create_private_folder(folder)?;
        if fs::metadata(folder)?.permissions().mode() & WRITABLE_BY_ALL != 0 {
            let reason = "all users can write to it, and its files are run as machine code; a new folder \
                          within it will do";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        }
        Ok(Self {
            folder: Some(folder.to_owned()),
        })
    }

    /// Loads a compiled component into engines that differ only in how they allocate. First compiles
    /// what `read` returns if it is not in the cache. A damaged file is compiled again, and what
    /// cannot be written is not kept. Blocks, and takes long when it compiles.
    ///
    /// # Errors
    /// Those of `read`, and those of wasmtime where the component cannot be compiled.
    pub fn load<const N: usize, E: From<wasmtime::Error>>(
        &self,
        digest: Digest,
        engines: [&Engine; N],
        read: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<[Component; N], E> {
        const { assert!(N > 0, "name the engines") };
        let engine = engines[0];
        let path = self.path(digest, engine);
        if let Some(path) = &path
            && let Some(code) = read_verified(path)
            && let Ok(components) = load_into(engines, &code)
        {
            mark_used(path);
            return Ok(components);
        }
        let code = compile(engine, &read()?)?;
        if let Some(path) = &path {
            self.keep(path, &code);
        }
        Ok(load_into(engines, &code)?)
    }

    /// The file of a component, as `engine` compiles it.
    fn path(&self, digest: Digest, engine: &Engine) -> Option<PathBuf> {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let compatibility = hasher.finish();
        let name = format!("{}-{compatibility:016x}.{EXTENSION}", digest.hex());
        Some(self.folder.as_ref()?.join(name))
    }

    fn keep(&self, path: &Path, code: &[u8]) {
        let mut content = Sha256::digest(code).to_vec();
        content.extend_from_slice(code);
        if let Err(error) = file::write_atomic(path, &content) {
            tracing::warn!(%error, path = %path.display(), "cannot keep a compiled component");
        }
        self.remove_unused_files();
    }

    /// Removes files above [`MAX_FILES`], temporary ones of processes that were killed among them.
    /// What is loaded does not need its file any more.
    fn remove_unused_files(&self) {
        let entries = self.folder.as_ref().map(fs::read_dir);
        let Some(Ok(entries)) = entries else {
            return;
        };
        let is_own = |entry: &fs::DirEntry| {
            let path = entry.path();
            path.extension() == Some(EXTENSION.as_ref()) || file::is_temporary(&path)
        };
        let mut files: Vec<_> = entries
            .flatten()
            .filter(is_own)
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        let excess = files.len().saturating_sub(MAX_FILES);
        files.sort();
        for (_, path) in files.into_iter().take(excess) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let path = path.display();
                    tracing::warn!(%error, %path, "cannot remove an old compiled component");
                }
                // Another process may have removed it.
                _ => {}
            }
        }
    }
}

/// The machine code of a component.
///
/// An engine that compiles keeps the buffers of its compiler, some megabytes for each thread, as
/// long as it lives. So another one compiles, which is dropped right after.
fn compile(engine: &Engine, component: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let mut config: Config = engine.config().clone();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    Engine::new(&config)?.precompile_component(component)
}

fn load_into<const N: usize>(
    engines: [&Engine; N],
    code: &[u8],
) -> wasmtime::Result<[Component; N]> {
    let components = engines.iter().map(|engine| {
        // SAFETY: `precompile_component` made the code, either just now or in an earlier process
        // that stored it with its checksum in a folder to which, as `CompiledCache` demands, only
        // this user can write. Wasmtime refuses code of another version or for another CPU.
        unsafe { Component::deserialize(engine, code) }
    });
    let components = components.collect::<wasmtime::Result<Vec<_>>>()?;
    let wrong_number = |_| wasmtime::Error::msg("not one component for each engine");
    components.try_into().map_err(wrong_number)
}

/// The machine code in a file, or `None` if the file is absent, unreadable or damaged.
fn read_verified(path: &Path) -> Option<Vec<u8>> {
    let mut content = match file::read_if_exists(path) {
        Ok(content) => content?,
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "cannot read a compiled component");
            return None;
        }
    };
    let verified = content
        .split_first_chunk::<32>()
        .is_some_and(|(checksum, code)| Sha256::digest(code)[..] == checksum[..]);
    if !verified {
        let path = path.display();
        tracing::warn!(%path, "a compiled component is damaged, compiling it again");
        return None;
    }
    content.drain(..32);
    Some(content)
}

/// Notes that a file was used now, by the clock that also dates new files. No harm if that fails: it
/// may be removed earlier than others.
fn mark_used(path: &Path) {
    const NOW: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let now = Timestamps {
        last_access: NOW,
        last_modification: NOW,
    };
    let marked = File::open(path).and_then(|file| Ok(futimens(file, &now)?));
    if let Err(error) = marked {
        let path = path.display();
        tracing::debug!(%error, %path, "cannot note that a compiled component was used");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    type Loaded = wasmtime::Result<[Component; 1]>;

    /// A component that exports nothing. Each number gives another one.
    fn component(number: usize) -> Vec<u8> {
        let text = format!("(component (core module (func (export \"{number}\"))))");
        wat::parse_str(text).expect("valid")
    }

    fn load(cache: &CompiledCache, engine: &Engine, component: &[u8]) -> Loaded {
        cache.load(Digest::of(component), [engine], || Ok(component.to_vec()))
    }

    /// The component from the disk.
    fn load_kept(cache: &CompiledCache, engine: &Engine, component: &[u8]) -> Loaded {
        let read = || Err(wasmtime::Error::msg("it is not in the cache"));
        cache.load(Digest::of(component), [engine], read)
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn a_component_is_compiled_once_by_all_processes() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, component) = (Engine::default(), component(0));
        for _ in 0..2 {
            let cache = CompiledCache::open(folder.path()).unwrap();
            load(&cache, &engine, &component).unwrap();
        }
        let later = CompiledCache::open(folder.path()).unwrap();
        load_kept(&later, &engine, &component).unwrap();
        assert_eq!(files(folder.path()).len(), 1);
    }

    #[test]
    fn engines_with_other_settings_have_their_own_code() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path()).unwrap();
        let component = component(0);
        let with_fuel = Engine::new(Config::new().consume_fuel(true)).unwrap();
        for engine in [Engine::default(), with_fuel] {
            load_kept(&cache, &engine, &component).unwrap_err();
            load(&cache, &engine, &component).unwrap();
            load_kept(&cache, &engine, &component).unwrap();
        }
        assert_eq!(files(folder.path()).len(), 2);
    }

    #[test]
    fn damaged_code_is_compiled_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path()).unwrap();
        let (engine, component) = (Engine::default(), component(0));
        load(&cache, &engine, &component).unwrap();
        let file = &files(folder.path())[0];
        let good = fs::read(file).unwrap();
        let mut damages: Vec<_> = [0, 31, 32, good.len() / 2, good.len() - 1]
            .map(|position| {
                let mut damaged = good.clone();
                damaged[position] ^= 1;
                damaged
            })
            .into();
        damages.extend([0, 31, 32, good.len() - 1].map(|length| good[..length].to_vec()));
        for damaged in damages {
            fs::write(file, &damaged).unwrap();
            load_kept(&cache, &engine, &component).unwrap_err();
            load(&cache, &engine, &component).unwrap();
            assert_eq!(fs::read(file).unwrap(), good);
        }
    }

    /// As a build of another wasmtime might leave it.
    #[test]
    fn code_that_does_not_load_is_compiled_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path()).unwrap();
        let (engine, component) = (Engine::default(), component(0));
        let path = cache.path(Digest::of(&component), &engine).unwrap();
        cache.keep(&path, b"no machine code");
        load(&cache, &engine, &component).unwrap();
        load_kept(&cache, &engine, &component).unwrap();
    }

    #[test]
    fn what_was_used_last_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path()).unwrap();
        let (engine, used) = (Engine::default(), component(0));
        load(&cache, &engine, &used).unwrap();
        let hour = Duration::from_secs(3600);
        let now = fs::metadata(&files(folder.path())[0]).unwrap();
        let now = now.modified().unwrap();
        let age = |path: &Path, age: Duration| {
            let file = File::open(path).unwrap();
            file.set_modified(now - age).unwrap();
        };
        age(&files(folder.path())[0], 3 * hour);
        for number in 1..=MAX_FILES {
            let path = folder.path().join(match number % 2 {
                0 => format!(".tmp{number}"),
                _ => format!("{number}.compiled"),
            });
            fs::write(&path, b"").unwrap();
            age(&path, if number == 7 { 2 * hour } else { hour });
        }
        let other = folder.path().join("of-somebody-else");
        fs::write(&other, b"").unwrap();
        age(&other, 4 * hour);
        load_kept(&cache, &engine, &used).unwrap();
        load(&cache, &engine, &component(1)).unwrap();
        load_kept(&cache, &engine, &used).unwrap();
        assert_eq!(files(folder.path()).len(), MAX_FILES + 1);
        assert!(
            !folder.path().join("7.compiled").exists(),
            "the oldest is gone"
        );
        assert!(other.exists(), "it is no file of a cache");
    }

    #[test]
    fn a_folder_that_all_users_can_write_to_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let set_mode = |mode| fs::set_permissions(parent.path(), fs::Permissions::from_mode(mode));
        for (mode, is_refused) in [
            (0o1777, true),
            (0o777, true),
            (0o2770, false),
            (0o755, false),
        ] {
            set_mode(mode).unwrap();
            match CompiledCache::open(parent.path()) {
                Err(error) => assert!(is_refused && error.to_string().contains("within it")),
                Ok(_) => assert!(!is_refused, "{mode:o}"),
            }
            // As its message says.
            CompiledCache::open(&parent.path().join("compiled")).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_kept_is_loaded_nevertheless() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path()).unwrap();
        folder.close().unwrap();
        let (engine, component) = (Engine::default(), component(0));
        for cache in [cache, CompiledCache::default()] {
            load(&cache, &engine, &component).unwrap();
            load_kept(&cache, &engine, &component).unwrap_err();
        }
    }

    #[test]
    fn what_is_no_component_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path()).unwrap();
        load(&cache, &Engine::default(), b"no component").unwrap_err();
        assert!(files(folder.path()).is_empty());
    }

    #[test]
    fn many_may_compile_the_same_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, component) = (Engine::default(), component(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let cache = CompiledCache::open(folder.path()).unwrap();
                    load(&cache, &engine, &component).unwrap();
                });
            }
        });
        assert_eq!(files(folder.path()).len(), 1);
    }
}
