//! The committed OpenAPI documents, which must be what the program serves.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::shell::{self, Workspace};

/// Each document's file and the hidden subcommand that prints it.
const DOCUMENTS: &[(&str, &str)] = &[
    ("docs/openapi.json", "openapi"),
    ("docs/node-openapi.json", "node-openapi"),
];

/// Compares the committed documents with the generated ones.
///
/// # Errors
/// Names the first line that differs.
pub fn check(workspace: &Workspace) -> Result<()> {
    let program = workspace.build_hotswap()?;
    for (file, subcommand) in DOCUMENTS {
        let generated = generate(workspace, &program, subcommand)?;
        let committed = fs::read_to_string(workspace.root().join(file))
            .with_context(|| format!("cannot read {file}: run `cargo xtask openapi`"))?;
        if let Some((line, committed, generated)) = difference(&committed, &generated) {
            bail!(
                "{file} is not what the program serves: run `cargo xtask openapi`\n  line \
                 {line}: committed {committed}\n  line {line}: generated {generated}"
            );
        }
    }
    Ok(())
}

/// Writes the documents anew.
pub fn write(workspace: &Workspace) -> Result<()> {
    let program = workspace.build_hotswap()?;
    for (file, subcommand) in DOCUMENTS {
        let generated = generate(workspace, &program, subcommand)?;
        let path = workspace.root().join(file);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        fs::write(&path, generated).with_context(|| format!("cannot write {file}"))?;
    }
    Ok(())
}

fn generate(workspace: &Workspace, program: &Path, subcommand: &str) -> Result<String> {
    let bytes = shell::read(workspace.command(program).arg(subcommand))?;
    let mut text = String::from_utf8(bytes).context("the document is not text")?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// The first line that differs: its number, and both texts.
pub fn difference<'a>(committed: &'a str, generated: &'a str) -> Option<(usize, &'a str, &'a str)> {
    const END: &str = "(end of file)";

    let (mut old, mut new) = (committed.lines(), generated.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (old.next(), new.next()) {
            (None, None) => return None,
            (old, new) if old == new => {}
            (old, new) => return Some((number, old.unwrap_or(END), new.unwrap_or(END))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(difference("a\nb\nc\n", "a\nx\nc\n"), Some((2, "b", "x")));
        assert_eq!(difference("a\n", "a\nb\n"), Some((2, "(end of file)", "b")));
        assert_eq!(difference("a\nb\n", "a\n"), Some((2, "b", "(end of file)")));
    }
}
