use semver::Version;

use super::config_schema::SchemaError;
use super::inspect;

/// Why this engine cannot run a component as a strategy or a discovery backend, and what to do
/// about it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The component is too large.
    #[error(
        "the component has {size} bytes; at most {limit} are allowed: build it without debug \
         information and optimise it for size"
    )]
    TooLarge {
        /// Bytes of the component.
        size: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// The bytes are not a component.
    #[error(transparent)]
    NotAComponent(#[from] inspect::Error),
    /// The component imports something that is not in the contract.
    #[error(
        "the component imports {import}, which {role} cannot use: it may import only {allowed}; \
         build it for wasm32-unknown-unknown, without dependencies that read files, clocks or \
         random numbers"
    )]
    ForbiddenImport {
        /// The name of the import.
        import: String,
        /// What the component was loaded as: `a strategy`.
        role: &'static str,
        /// What it may import, in words.
        allowed: &'static str,
    },
    /// The component imports a function that is not in the contract.
    #[error(
        "the component imports {function} of {interface}, but this engine supports version \
         {supported}, which has no such function: update the engine, or build the component \
         against that version"
    )]
    UnknownFunction {
        /// The function.
        function: String,
        /// The interface from which the component imports it.
        interface: String,
        /// The version of the contract that this engine supports.
        supported: Version,
    },
    /// The component was built for another version of the contract.
    #[error(
        "the component {direction} {name}, but this engine supports version {supported}: build \
         it against a version 0.1 of {contract}"
    )]
    UnsupportedVersion {
        /// `imports` or `exports`.
        direction: &'static str,
        /// The name of the interface, with its version.
        name: String,
        /// The package of the contract.
        contract: &'static str,
        /// The version of the contract that this engine supports.
        supported: Version,
    },
    /// The component imports a function of the contract with other types.
    #[error("the imports of the component do not match {contract}@0.1: {reason}")]
    ImportTypeMismatch {
        /// The package of the contract.
        contract: &'static str,
        /// The difference.
        reason: String,
    },
    /// The component exports a function of the contract with other types.
    #[error(
        "the types of {function} in {interface} do not match version {supported} of the \
         contract: {reason}"
    )]
    ExportTypeMismatch {
        /// The function.
        function: &'static str,
        /// The interface that the component exports.
        interface: String,
        /// The version of the contract that this engine supports.
        supported: Version,
        /// The difference.
        reason: String,
    },
    /// The component does not export the interface of its contract.
    #[error(
        "the component does not export {contract}/{interface}@0.1, which {role} must export; it \
         exports {exports}"
    )]
    MissingExport {
        /// The package of the contract.
        contract: &'static str,
        /// The interface.
        interface: &'static str,
        /// What the component was loaded as: `a strategy`.
        role: &'static str,
        /// What it exports instead.
        exports: String,
    },
    /// The component exports only a part of the interface of its contract.
    #[error("the component exports {interface} without its function {function}")]
    MissingFunction {
        /// The function.
        function: &'static str,
        /// The interface that the component exports.
        interface: String,
    },
    /// The component cannot be compiled, or does not fit the limits.
    #[error("the component cannot be compiled: {0}")]
    Compile(String),
    /// `describe` did not return.
    #[error("describe failed: {0}")]
    Describe(String),
    /// The machine has no memory or address space to call `describe`. It may have later.
    #[error("describe could not be called: {0}")]
    NoRoom(String),
    /// `describe` returned an invalid name.
    #[error("describe returned an invalid name: {0}")]
    InvalidName(hotswap_core::ParseError),
    /// `describe` returned an invalid version.
    #[error("describe returned the version {version:?}, which is not a semantic version: {reason}")]
    InvalidVersion {
        /// What `describe` returned.
        version: String,
        /// What is wrong with it.
        reason: semver::Error,
    },
    /// `describe` returned a configuration schema that breaks a rule.
    #[error("describe returned an invalid configuration schema: {0}")]
    InvalidSchema(SchemaError),
}
