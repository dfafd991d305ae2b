use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell;

/// The shared libraries that a program needs, with the loader, in the order of their paths. None
/// if it is static, as those of a release are.
///
/// # Errors
/// If one of them is missing.
pub(super) fn of(program: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let ldd = shell::find_program("ldd").context("there is no ldd")?;
    let output = Command::new(ldd).arg(program).output()?;
    // It fails for a static program, and says so.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut libraries: Vec<_> = text.lines().filter_map(path_in).collect();
    libraries.sort();
    libraries
        .into_iter()
        .map(|path| {
            let content = fs::read(&path);
            let content = content.with_context(|| format!("cannot read {}", path.display()))?;
            Ok((path, content))
        })
        .collect()
}

/// The path in a line of `ldd`: `libm.so.6 => /lib/libm.so.6 (0x7f…)`, or the loader's own.
fn path_in(line: &str) -> Option<PathBuf> {
    let words = line.split_whitespace();
    words.map(PathBuf::from).find(|word| word.is_absolute())
}
