use clap::Subcommand;

use crate::contexts::ContextName;

/// `hotswap context …`.
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// Save an engine under a name, with the options of all commands that are given
    ///
    /// --server names the engine. --token-file, --ca, --client-cert, --client-key and --email are
    /// saved with it, and --token, which is better kept in a file. Nothing is saved of the
    /// environment's variables but HOTSWAP_SERVER and those of files. No engine is asked.
    Add {
        /// The name
        name: ContextName,
        /// Replace the context that has the name
        #[arg(long)]
        replace: bool,
    },
    /// Choose the context of all commands from now on
    Use {
        /// Its name
        name: ContextName,
    },
    /// List the contexts
    List,
    /// Delete a context; with the one in use commands go back to the default engine
    Delete {
        /// Its name
        name: ContextName,
    },
}
