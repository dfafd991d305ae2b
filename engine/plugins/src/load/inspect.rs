//! Checks that need only the bytes of a component: nothing is compiled.

use wasmparser::{BinaryReaderError, Encoding, Parser, Payload, Validator, WasmFeatures};

/// Why bytes are not a usable component, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not WebAssembly.
    #[error(
        "the file is not a WebAssembly component: it does not start with the bytes 00 61 73 6d"
    )]
    NotWasm,
    /// The bytes are WebAssembly in text format.
    #[error("the file is WebAssembly text: convert it to binary with `wasm-tools parse`")]
    TextFormat,
    /// The bytes are a core module that was not made into a component.
    #[error(
        "the file is a core module, not a component: convert it with \
         `wasm-tools component new core.wasm -o component.wasm`"
    )]
    CoreModule,
    /// The bytes are damaged, or use a newer version of the binary format.
    #[error("the file is not a valid component: {0}")]
    Invalid(String),
    /// The component does not handle requests.
    #[error(
        "the component does not export wasi:http/incoming-handler@0.2, through which a node \
         passes requests to a module; it exports {0}"
    )]
    NoRequestHandler(String),
}

/// The names of a component's imports and exports, in the order of the component.
#[derive(Debug, Default)]
pub(crate) struct ComponentNames {
    pub imports: Vec<String>,
    pub exports: Vec<String>,
}

/// Checks that `bytes` are a valid component that exports
/// `wasi:http/incoming-handler@0.2`, so that a node can run it. Takes some milliseconds for
/// each megabyte.
///
/// # Errors
/// [`Error`] says what is wrong and what to do about it.
pub fn check_module(bytes: &[u8]) -> Result<(), Error> {
    let names = component_names(bytes)?;
    // Accept all WebAssembly features: the node's own engine decides which it supports.
    Validator::new_with_features(WasmFeatures::all())
        .validate_all(bytes)
        .map_err(invalid)?;
    let handles_requests = names.exports.iter().any(|name| {
        name.strip_prefix("wasi:http/incoming-handler@0.2.")
            .is_some_and(|patch| !patch.is_empty())
    });
    if handles_requests {
        Ok(())
    } else {
        Err(Error::NoRequestHandler(join_names(&names.exports)))
    }
}

/// Checks the code of a component, with the features of WebAssembly that are standard. Takes some
/// milliseconds for each megabyte.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn validate(bytes: &[u8]) -> Result<(), Error> {
    let validated = Validator::new().validate_all(bytes);
    validated.map(drop).map_err(invalid)
}

/// Reads the names of a component's imports and exports. Does not check their types.
pub(crate) fn component_names(bytes: &[u8]) -> Result<ComponentNames, Error> {
    if !bytes.starts_with(b"\0asm") {
        let text = bytes.trim_ascii_start();
        return Err(
            if text.starts_with(b"(module") || text.starts_with(b"(component") {
                Error::TextFormat
            } else {
                Error::NotWasm
            },
        );
    }
    let mut names = ComponentNames::default();
    // How many nested modules and components the parser is inside of.
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

/// Joins names for a sentence. Counts those after the first few.
pub(crate) fn join_names(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len() {
        0 => "nothing".to_owned(),
        count if count > SHOWN => format!("{shown} and {} more", count - SHOWN),
        _ => shown,
    }
}

fn invalid(error: BinaryReaderError) -> Error {
    Error::Invalid(error.to_string())
}
