//! The Rust source that embeds the components.

use std::fmt::Write as _;

use crate::guest::{Guest, KINDS};

/// Constants for all guests, and a function for each kind. The components are
/// included from the source's own folder.
pub fn source(guests: &[Guest]) -> String {
    let mut source = String::new();
    for guest in guests {
        let folder = guest.folder.display();
        if let Some(description) = &guest.description {
            push(&mut source, format_args!("/// {}", description.trim()));
            push(&mut source, format_args!("///"));
        }
        push(
            &mut source,
            format_args!("/// The component of `{folder}`."),
        );
        push(
            &mut source,
            format_args!(
                "pub const {}: &[u8] = include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{}\"));\n",
                guest.constant(),
                guest.file_name(),
            ),
        );
    }
    for (kind, of) in KINDS.iter().enumerate() {
        push(&mut source, format_args!("/// {} Sorted by name.", of.doc));
        push(&mut source, format_args!("#[must_use]"));
        push(
            &mut source,
            format_args!(
                "pub const fn {}() -> &'static [Guest] {{\n    &[",
                of.function
            ),
        );
        for guest in guests.iter().filter(|guest| guest.kind == kind) {
            push(
                &mut source,
                format_args!(
                    "        Guest {{ name: {:?}, component: {} }},",
                    guest.name,
                    guest.constant()
                ),
            );
        }
        push(&mut source, format_args!("    ]\n}}\n"));
    }
    source
}

fn push(source: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(source, "{line}").expect("a string takes every line");
}
