//! What the engine and the nodes have in common as hosts of WebAssembly: machine code that is kept
//! on disk, so that a component is compiled once and not at each start, and how fast it is compiled.

mod compile_speed;
mod compiled_cache;

pub use compile_speed::compile_fast_in_debug_builds;
pub use compiled_cache::CompiledCache;
