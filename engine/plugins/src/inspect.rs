//! What can be said of bytes without compiling them.

use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};

/// Why bytes are not what they should be, in a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They are something else.
    #[error("it is not WebAssembly: it does not begin with the bytes 00 61 73 6d")]
    Foreign,
    /// They are WebAssembly as text.
    #[error("it is WebAssembly as text: make a binary of it with `wasm-tools parse`")]
    Text,
    /// They are a module that was not made a component.
    #[error(
        "it is a core module and not a component: make one of it with \
         `wasm-tools component new core.wasm -o component.wasm`"
    )]
    CoreModule,
    /// They are damaged, or of a version of the format that is not known here.
    #[error("it is not a valid component: {0}")]
    Invalid(String),
    /// The component answers no requests.
    #[error(
        "it exports no wasi:http/incoming-handler@0.2, by which a node passes requests to a \
         module; it exports {0}"
    )]
    NoHandler(String),
}

/// What a component calls its imports and exports, in its own order.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub imports: Vec<String>,
    pub exports: Vec<String>,
}

/// Checks that `bytes` are a valid component that exports
/// `wasi:http/incoming-handler@0.2`: something that a node can run. Compiles nothing;
/// takes some milliseconds for each megabyte.
///
/// # Errors
/// With what is wrong and what to do about it.
pub fn module(bytes: &[u8]) -> Result<(), Error> {
    let names = names(bytes)?;
    // All features: which of them it knows is for the node's own WebAssembly engine to say.
    Validator::new_with_features(WasmFeatures::all())
        .validate_all(bytes)
        .map_err(invalid)?;
    let handles = names.exports.iter().any(|name| {
        name.strip_prefix("wasi:http/incoming-handler@0.2.")
            .is_some_and(|patch| !patch.is_empty())
    });
    if handles {
        Ok(())
    } else {
        Err(Error::NoHandler(listed(&names.exports)))
    }
}

/// The names of a component, with no look at what they stand for.
pub(crate) fn names(bytes: &[u8]) -> Result<Names, Error> {
    if !bytes.starts_with(b"\0asm") {
        let text = bytes.trim_ascii_start();
        return Err(
            if text.starts_with(b"(module") || text.starts_with(b"(component") {
                Error::Text
            } else {
                Error::Foreign
            },
        );
    }
    let mut names = Names::default();
    // How many of a component's parts the parser is inside of.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(invalid)? {
            Payload::Version { encoding, .. } if depth == 0 && encoding == Encoding::Module => {
                return Err(Error::CoreModule);
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    let import = import.map_err(invalid)?;
                    names.imports.push(import.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    let export = export.map_err(invalid)?;
                    names.exports.push(export.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

/// Names for a sentence; the first few of many.
pub(crate) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len() {
        0 => "nothing".to_owned(),
        count if count > SHOWN => format!("{shown} and {} more", count - SHOWN),
        _ => shown,
    }
}

fn invalid(error: wasmparser::BinaryReaderError) -> Error {
    Error::Invalid(error.to_string())
}
