//! Measures what counting fuel costs, against interruption by epochs and against no limit at
//! all, in the same run and with the other settings of the host.
//!
//! Prints a table. Run it with `cargo bench --bench fuel`. The programs are the kinds of code
//! that strategies have most of: arithmetic in a loop, reads and writes of memory, and calls of
//! small functions.

use std::time::Instant;

use wasmtime::{Config, Engine, Instance, Module, Store};

/// Turns of the loop in each program.
const TURNS: i32 = 50_000_000;
const ROUNDS: usize = 7;

/// Each exports `run`, which takes the number of turns.
const PROGRAMS: [(&str, &str); 3] = [
    (
        "arithmetic",
        "(module (func (export \"run\") (param $turns i32) (result i64) (local $sum i64)
            (loop $again
                (local.set $sum (i64.add
                    (i64.mul (local.get $sum) (i64.const 6364136223846793005))
                    (i64.extend_i32_u (local.get $turns))))
                (br_if $again
                    (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
            (local.get $sum)))",
    ),
    (
        "memory",
        "(module (memory 1) (func (export \"run\") (param $turns i32) (result i64)
            (local $at i32)
            (loop $again
                (local.set $at (i32.and (i32.mul (local.get $turns) (i32.const 8))
                    (i32.const 0xfff8)))
                (i64.store (local.get $at)
                    (i64.add (i64.load (local.get $at)) (i64.const 1)))
                (br_if $again
                    (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
            (i64.load (i32.const 0))))",
    ),
    (
        "calls",
        "(module (table 2 funcref) (elem (i32.const 0) $one $two)
            (type $step (func (param i64) (result i64)))
            (func $one (param i64) (result i64) (i64.add (local.get 0) (i64.const 1)))
            (func $two (param i64) (result i64) (i64.xor (local.get 0) (i64.const 5)))
            (func (export \"run\") (param $turns i32) (result i64) (local $sum i64)
            (loop $again
                (local.set $sum (call_indirect (type $step) (local.get $sum)
                    (i32.and (local.get $turns) (i32.const 1))))
                (br_if $again
                    (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
            (local.get $sum)))",
    ),
];

#[derive(Clone, Copy)]
enum Limit {
    None,
    Epochs,
    Fuel,
}

fn main() -> wasmtime::Result<()> {
    println!(
        "{:12} {:>12} {:>12} {:>12} {:>18} {:>18}",
        "", "no limit", "epochs", "fuel", "epochs / no limit", "fuel / epochs"
    );
    for (name, program) in PROGRAMS {
        let mut programs = [Limit::None, Limit::Epochs, Limit::Fuel]
            .map(|limit| Program::load(program, limit).expect("a program"));
        let mut times = [const { Vec::new() }; 3];
        // In turns, so that a slow moment of the machine meets all of them.
        for _ in 0..ROUNDS {
            for (program, times) in programs.iter_mut().zip(&mut times) {
                times.push(program.run()?);
            }
        }
        let [none, epochs, fuel] = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        });
        let each = |time: f64| format!("{:.2} ns", time * 1e9 / f64::from(TURNS));
        println!(
            "{name:12} {:>12} {:>12} {:>12} {:>18.2} {:>18.2}",
            each(none),
            each(epochs),
            each(fuel),
            epochs / none,
            fuel / epochs
        );
    }
    Ok(())
}

struct Program {
    store: Store<()>,
    run: wasmtime::TypedFunc<i32, i64>,
    limit: Limit,
}

impl Program {
    fn load(text: &str, limit: Limit) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config
            .consume_fuel(matches!(limit, Limit::Fuel))
            .epoch_interruption(matches!(limit, Limit::Epochs))
            .cranelift_nan_canonicalization(true)
            .memory_reservation(64 << 20)
            .memory_guard_size(64 << 10);
        let engine = Engine::new(&config)?;
        let mut store = Store::new(&engine, ());
        if matches!(limit, Limit::Epochs) {
            store.set_epoch_deadline(1);
        }
        let module = Module::new(&engine, wat::parse_str(text).expect("a program"))?;
        if matches!(limit, Limit::Fuel) {
            store.set_fuel(u64::MAX)?;
        }
        let instance = Instance::new(&mut store, &module, &[])?;
        let run = instance.get_typed_func(&mut store, "run")?;
        Ok(Self { store, run, limit })
    }

    /// Returns the seconds that it took.
    fn run(&mut self) -> wasmtime::Result<f64> {
        if matches!(self.limit, Limit::Fuel) {
            self.store.set_fuel(u64::MAX)?;
        }
        let start = Instant::now();
        std::hint::black_box(self.run.call(&mut self.store, TURNS)?);
        Ok(start.elapsed().as_secs_f64())
    }
}
