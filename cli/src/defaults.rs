//! Defaults that both the command line and the settings need.

/// The engine's address where none is given.
pub const SERVER: &str = "http://127.0.0.1:5000";

/// The data folder of `hotswap dev`.
pub const DEV_FOLDER: &str = ".hotswap/dev";

/// The data folder of `hotswap node run`.
pub const NODE_FOLDER: &str = ".hotswap/node";

/// The folder for compiled components, in the data folder.
pub const COMPILED_FOLDER: &str = "compiled";

/// The configuration file that is read where none is named and this one exists.
pub const CONFIG_FILE: &str = "hotswap.toml";
