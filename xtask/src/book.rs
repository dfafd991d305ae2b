//! The documentation as a book, by mdBook.

use anyhow::Result;

use crate::setup;
use crate::shell::{self, Workspace};

/// Builds the book of `docs/` into `target/book`.
///
/// # Errors
/// If mdBook cannot be installed, or a chapter of the summary is missing.
pub fn build(workspace: &Workspace) -> Result<()> {
    let mdbook = setup::MDBOOK.find_or_install(workspace)?;
    shell::run(
        workspace
            .command(mdbook)
            .arg("build")
            .arg(workspace.root().join("docs")),
    )
}
