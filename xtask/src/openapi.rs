//! The committed OpenAPI documents, which must match the ones that `hotswap` serves.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::shell::{self, Workspace};

/// The file of each document, and the hidden subcommand of `hotswap` that prints it.
const DOCUMENTS: &[(&str, &str)] = &[
    ("docs/openapi.json", "openapi"),
    ("docs/node-openapi.json", "node-openapi"),
];

/// Compares the committed documents with the generated ones.
///
/// # Errors
/// If they differ. Shows the first line that differs.
pub fn check(workspace: &Workspace) -> Result<()> {
    let program = workspace.build_hotswap()?;
    for (file, subcommand) in DOCUMENTS {
        let generated = generate(workspace, &program, subcommand)?;
        let committed = fs::read_to_string(workspace.root().join(file))
            .with_context(|| format!("cannot read {file}: run `cargo xtask openapi`"))?;
        if let Some((line, committed, generated)) = first_difference(&committed, &generated) {
            bail!(
                "{file} is out of date: run `cargo xtask openapi`\n  line {line}, committed: \
                 {committed}\n  line {line}, generated: {generated}"
            );
        }
    }
    Ok(())
}

/// Regenerates the documents.
///
/// # Errors
/// If `hotswap` does not build, or a file cannot be written.
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
    let bytes = shell::read_stdout(workspace.command(program).arg(subcommand))?;
    let mut text = String::from_utf8(bytes).context("the document is not UTF-8")?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// The first line that differs: its number, counted from 1, and both texts.
pub fn first_difference<'a>(
    committed: &'a str,
    generated: &'a str,
) -> Option<(usize, &'a str, &'a str)> {
    const END: &str = "(end of file)";

    let (mut old, mut new) = (committed.lines(), generated.lines());
    let mut line = 0;
    loop {
        line += 1;
        match (old.next(), new.next()) {
            (None, None) => return None,
            (old, new) if old == new => {}
            (old, new) => return Some((line, old.unwrap_or(END), new.unwrap_or(END))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn the_first_different_line_is_returned() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(
            first_difference("a\nb\nc\n", "a\nx\nc\n"),
            Some((2, "b", "x"))
        );
        assert_eq!(
            first_difference("a\n", "a\nb\n"),
            Some((2, "(end of file)", "b"))
        );
        assert_eq!(
            first_difference("a\nb\n", "a\n"),
            Some((2, "b", "(end of file)"))
        );
    }
}
