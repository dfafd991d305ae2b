//! Generates the Rust source that embeds the components.

use std::fmt::Write as _;

use crate::guest_package::{GUEST_KINDS, GuestPackage};

/// A constant for each guest, and a function for each kind. The components are included from
/// the folder of the generated file.
pub fn generate_source(guests: &[GuestPackage]) -> String {
    let mut source = String::new();
    for guest in guests {
        let folder = guest.folder.display();
        if let Some(description) = &guest.description {
            push_line(&mut source, format_args!("/// {}", description.trim()));
            push_line(&mut source, format_args!("///"));
        }
        push_line(
            &mut source,
            format_args!("/// The component of `{folder}`."),
        );
        push_line(
            &mut source,
            format_args!(
                "pub const {}: &[u8] = include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{}\"));\n",
                guest.constant_name(),
                guest.file_name(),
            ),
        );
    }
    for (index, kind) in GUEST_KINDS.iter().enumerate() {
        push_line(
            &mut source,
            format_args!("/// {} Sorted by name.", kind.doc),
        );
        push_line(&mut source, format_args!("#[must_use]"));
        push_line(
            &mut source,
            format_args!(
                "pub const fn {}() -> &'static [Guest] {{\n    &[",
                kind.function
            ),
        );
        for guest in guests.iter().filter(|guest| guest.kind_index == index) {
            push_line(
                &mut source,
                format_args!(
                    "        Guest {{ name: {:?}, component: {} }},",
                    guest.name,
                    guest.constant_name()
                ),
            );
        }
        push_line(&mut source, format_args!("    ]\n}}\n"));
    }
    source
}

fn push_line(source: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(source, "{line}").expect("writing to a string cannot fail");
}
