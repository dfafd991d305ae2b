//! Where compiled components are kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::server::Server;
use crate::support::hotswap;

/// The built-in strategies: the engine compiles them when it starts.
const BUILT_IN: usize = 4;

/// The files of a folder, and when they were used.
fn files(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let entries = fs::read_dir(folder).unwrap();
    let entries = entries.map(|entry| entry.unwrap());
    let used = entries.map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap()));
    used.collect()
}

/// Starts an engine without the folder that tests share, and stops it. Returns its log.
fn run_engine(folder: &Path, data_dir: &str, more: &[&str]) -> String {
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir];
    let mut serve = hotswap(folder, &[&serve[..], more].concat());
    serve.env_remove("HOTSWAP_COMPILED_DIR");
    let engine = Server::start_command(serve, "engine ready", "addr");
    let log = engine.log();
    engine.stop();
    log
}

#[test]
fn engines_that_share_a_folder_compile_each_strategy_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let shared = ["--compiled-dir", "shared"];
    run_engine(path, "one", &shared);
    let first = files(&path.join("shared"));
    assert_eq!(first.len(), BUILT_IN, "{first:?}");
    assert!(!path.join("one/compiled").exists());

    let log = run_engine(path, "other", &shared);
    let second = files(&path.join("shared"));
    assert!(first.keys().eq(second.keys()), "{second:?}");
    for (file, used) in &first {
        assert!(second[file] > *used, "{} was not used", file.display());
    }
    assert!(!log.contains("damaged"), "{log}");
}

#[test]
fn an_engine_keeps_compiled_strategies_in_its_data_folder_and_replaces_damaged_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    run_engine(path, "engine", &[]);
    let compiled = files(&path.join("engine/compiled"));
    assert_eq!(compiled.len(), BUILT_IN, "{compiled:?}");
    let damaged = compiled.keys().next().unwrap();
    let good = fs::read(damaged).unwrap();
    fs::write(damaged, &good[..good.len() / 2]).unwrap();
    let log = run_engine(path, "engine", &[]);
    assert!(log.contains("a compiled component is damaged"), "{log}");
    assert_eq!(fs::read(damaged).unwrap(), good);
}

#[test]
fn the_engine_and_the_nodes_of_dev_share_what_they_compile() {
    let folder = tempfile::tempdir().unwrap();
    let dev = ["dev", "--port", "0", "--rate", "0", "--for", "1s"];
    let mut dev = hotswap(folder.path(), &dev);
    let output = dev.env_remove("HOTSWAP_COMPILED_DIR").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let data = folder.path().join(".hotswap/dev");
    assert!(files(&data.join("compiled")).len() > BUILT_IN);
    assert!(!data.join("engine/compiled").exists());
    for node in fs::read_dir(data.join("nodes")).unwrap() {
        let compiled = node.unwrap().path().join("data/compiled");
        assert!(!compiled.exists(), "{}", compiled.display());
    }
}
