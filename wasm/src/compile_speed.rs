use wasmtime::{Config, OptLevel, RegallocAlgorithm};

/// Lets builds with debug assertions compile components quickly instead of well: their tests start
/// many engines and nodes, and mostly wait for the compiler. The code runs slower. It spends the
/// same fuel, which is counted before code is optimised.
pub fn compile_fast_in_debug_builds(config: &mut Config) {
    if cfg!(debug_assertions) {
        config
            .cranelift_opt_level(OptLevel::None)
            .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
    }
}
