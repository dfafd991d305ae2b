use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

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
    let mut libraries = paths_in(&text)?;
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

/// The paths in what `ldd` prints.
fn paths_in(text: &str) -> Result<Vec<PathBuf>> {
    let mut missing = text.lines().filter(|line| line.ends_with("=> not found"));
    if let Some(line) = missing.next() {
        bail!("a shared library is missing: {}", line.trim());
    }
    Ok(text.lines().filter_map(path_in).collect())
}

/// The path in a line of `ldd`: `libm.so.6 => /lib/libm.so.6 (0x7f…)`, or the loader's own.
fn path_in(line: &str) -> Option<PathBuf> {
    let words = line.split_whitespace();
    words.map(PathBuf::from).find(|word| word.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_libraries_and_of_the_loader() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibm.so.6 => /lib/libm.so.6 (0x00007f01)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f02)\n";
        let paths = ["/lib/libm.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(paths_in(text).unwrap(), paths);
        assert!(paths_in("\tstatically linked\n").unwrap().is_empty());
    }

    #[test]
    fn a_library_that_is_missing_is_an_error() {
        let text = "\tlibm.so.6 => /lib/libm.so.6 (0x00007f01)\n\tlibz.so.1 => not found\n";
        let error = paths_in(text).unwrap_err().to_string();
        assert!(error.contains("libz.so.1"), "{error}");
    }
}
