use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{env, fs};

use flate2::read::GzDecoder;
use serde_json::Value;

use super::*;

/// A small program instead of ours, in a file of its own with another time each.
fn contents(folder: &Path, age: Duration) -> Contents {
    let workspace = Workspace::find().unwrap();
    let program = folder.join("program");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    let file = fs::File::options().write(true).open(&program).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + age).unwrap();
    Contents::gather(&workspace, &program).unwrap()
}

/// The files of an archive.
fn files(archive: &[u8]) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (path, content)
    });
    entries.collect()
}

/// What an image archive holds: the index, the configuration, and the files of the layers.
struct Unpacked {
    index: Value,
    manifest: Value,
    config: Value,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Unpacked {
    fn read(path: &Path) -> Self {
        let archive = files(&fs::read(path).unwrap());
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap();
            let hash = digest.strip_prefix("sha256:").unwrap();
            let content = archive[Path::new("blobs/sha256").join(hash).as_path()].clone();
            assert_eq!(layout::hash(&content), hash);
            assert_eq!(descriptor["size"], content.len());
            content
        };
        let index: Value = serde_json::from_slice(&archive[Path::new("index.json")]).unwrap();
        let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        let mut all = BTreeMap::new();
        for (number, layer) in manifest["layers"].as_array().unwrap().iter().enumerate() {
            let mut archive = Vec::new();
            let packed = blob(layer);
            GzDecoder::new(&*packed).read_to_end(&mut archive).unwrap();
            let digest = format!("sha256:{}", layout::hash(&archive));
            assert_eq!(config["rootfs"]["diff_ids"][number], digest);
            all.extend(files(&archive));
        }
        Self {
            index,
            manifest,
            config,
            files: all,
        }
    }
}

#[test]
fn an_image_is_whole_and_two_builds_of_it_are_the_same_to_the_byte() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let ages = [Duration::ZERO, Duration::from_secs(86_400)];
    let mut digests = Vec::new();
    let archives = [0, 1].map(|number| {
        let folder = folders[number].path();
        let image = contents(folder, ages[number]).image();
        let path = folder.join("image.tar");
        image.write("localhost/hotswap:1.2.3", &path).unwrap();
        digests.push(image.digest());
        path
    });
    assert_eq!(digests[0], digests[1]);
    let [first, second] = archives.clone().map(|path| fs::read(path).unwrap());
    assert!(first == second);

    let image = Unpacked::read(&archives[0]);
    let named = &image.index["manifests"][0];
    assert_eq!(named["digest"], digests[0]);
    assert_eq!(
        named["annotations"]["io.containerd.image.name"],
        "localhost/hotswap:1.2.3"
    );
    let config = &image.config["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"][0], "/usr/bin/hotswap");
    let commit = Commit::of(&Workspace::find().unwrap()).unwrap();
    for labels in [&config["Labels"], &image.manifest["annotations"]] {
        assert_eq!(labels["org.opencontainers.image.revision"], commit.revision);
        assert_eq!(labels["org.opencontainers.image.licenses"], "Apache-2.0");
    }
    let file = |path: &str| &image.files[Path::new(path)];
    assert!(file("usr/bin/hotswap").starts_with(b"\x7fELF"));
    let authorities = file("etc/ssl/certs/ca-certificates.crt");
    assert!(authorities.starts_with(b"-----BEGIN CERTIFICATE-----"));
    assert!(String::from_utf8_lossy(file("etc/passwd")).contains("hotswap:x:65532:65532:"));
    assert!(image.files.contains_key(Path::new("tmp")));
    // The tests themselves are linked against the C library.
    let is_loader = |path: &PathBuf| path.to_string_lossy().contains("ld-linux");
    assert!(
        image.files.keys().any(is_loader),
        "{:?}",
        image.files.keys()
    );
}

#[test]
fn two_builds_that_differ_and_an_image_that_is_too_large_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = contents(folder.path(), Duration::ZERO);
    let image = first.image();
    let size = image.compressed_size();
    assert!(size > first.authorities.len() / 10, "{size}");
    verify(&image, &first.image(), size).unwrap();
    let error = verify(&image, &first.image(), size - 1).unwrap_err();
    assert!(error.to_string().contains("is the limit"), "{error}");

    let mut second = contents(folder.path(), Duration::ZERO);
    second.program.push(0);
    let error = verify(&image, &second.image(), usize::MAX).unwrap_err();
    assert!(
        error.to_string().contains("builds of one commit differ"),
        "{error}"
    );
}

#[test]
fn the_bill_of_materials_names_what_is_linked_and_not_what_only_tests_use() {
    let folder = tempfile::tempdir().unwrap();
    let contents = contents(folder.path(), Duration::ZERO);
    let document: Value = serde_json::from_slice(&contents.sbom).unwrap();
    assert_eq!(document["spdxVersion"], "SPDX-2.3");
    let packages = document["packages"].as_array().unwrap();
    let find = |name: &str| packages.iter().find(|package| package["name"] == name);
    let wasmtime = find("wasmtime").unwrap();
    assert!(
        wasmtime["licenseDeclared"]
            .as_str()
            .unwrap()
            .contains("Apache-2.0")
    );
    let checksum = wasmtime["checksums"][0]["checksumValue"].as_str().unwrap();
    assert_eq!(checksum.len(), 64);
    let locator = wasmtime["externalRefs"][0]["referenceLocator"]
        .as_str()
        .unwrap();
    assert!(locator.starts_with("pkg:cargo/wasmtime@"), "{locator}");
    // Embedded components are in the program, too.
    assert!(find("wit-bindgen").is_some() && find("libc.so.6").is_some());
    for absent in ["rcgen", "proptest", "xtask", "hotswap-tests"] {
        assert!(find(absent).is_none(), "{absent}");
    }
    let ids: BTreeSet<_> = packages
        .iter()
        .map(|package| package["SPDXID"].as_str())
        .collect();
    assert_eq!(ids.len(), packages.len(), "ids are unique");
    let relationships = document["relationships"].as_array().unwrap();
    assert_eq!(relationships.len(), packages.len());
}

#[test]
fn times_are_written_as_rfc_3339() {
    assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
    assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
    assert_eq!(rfc3339(1_795_737_599), "2026-11-26T23:59:59Z");
}

/// The instructions of the last stage of a Dockerfile, each with what follows its word.
fn instructions(dockerfile: &str) -> Vec<(String, String)> {
    let joined = dockerfile.replace("\\\n", " ");
    let last = joined.rsplit("\nFROM ").next().unwrap().to_owned();
    let lines = last.lines().skip(1).map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let instructions = lines.map(|line| {
        let (word, rest) = line.split_once(' ').unwrap();
        (word.to_owned(), rest.trim().to_owned())
    });
    instructions.collect()
}

/// None of these builds runs in a test.
#[test]
fn release_builds_name_a_package_of_the_workspace() {
    let workspace = Workspace::find().unwrap();
    let mut packages = vec![PACKAGE.to_owned()];
    for file in [
        "Dockerfile",
        "docs/install.md",
        ".github/workflows/release.yml",
    ] {
        let text = fs::read_to_string(workspace.root().join(file)).unwrap();
        let builds = text.lines().filter(|line| line.contains("cargo build"));
        let named = builds.filter_map(|line| line.split("--package ").nth(1));
        let before = packages.len();
        packages.extend(named.map(|rest| rest.split(' ').next().unwrap().to_owned()));
        assert!(packages.len() > before, "{file} builds no package");
    }
    for package in packages {
        let mut describe = workspace.cargo(&["pkgid", "--locked", "--package", &package]);
        let described = shell::read_stdout(&mut describe);
        let described = described.unwrap_or_else(|error| panic!("{package}: {error:#}"));
        assert!(
            String::from_utf8(described).unwrap().contains("/cli#"),
            "{package}"
        );
    }
}

/// Both make one image. docs/adr/0033 says what differs.
#[test]
fn the_dockerfile_says_of_the_image_what_the_task_says() {
    let workspace = Workspace::find().unwrap();
    let dockerfile = fs::read_to_string(workspace.root().join("Dockerfile")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("image.tar");
    let image = contents(folder.path(), Duration::ZERO).image();
    image.write("localhost/hotswap:1.2.3", &archive).unwrap();
    let image = Unpacked::read(&archive);
    let config = &image.config["config"];

    let instructions = instructions(&dockerfile);
    let all = |word: &str| {
        let found = instructions.iter().filter(move |(one, _)| one == word);
        found.map(|(_, rest)| rest.clone()).collect::<Vec<_>>()
    };
    let one = |word: &str| match all(word).as_slice() {
        [rest] => rest.clone(),
        several => panic!("{word}: {several:?}"),
    };
    assert_eq!(config["User"], one("USER"));
    assert_eq!(config["WorkingDir"], one("WORKDIR"));
    assert_eq!(config["StopSignal"], one("STOPSIGNAL"));
    let entry_point: Value = serde_json::from_str(&one("ENTRYPOINT")).unwrap();
    assert_eq!(config["Entrypoint"], entry_point);
    let expose = one("EXPOSE");
    let ports: BTreeSet<_> = expose
        .split(' ')
        .map(|port| format!("{port}/tcp"))
        .collect();
    let exposed = config["ExposedPorts"].as_object().unwrap();
    assert_eq!(exposed.keys().cloned().collect::<BTreeSet<_>>(), ports);

    let labels = one("LABEL");
    let labels: BTreeMap<_, _> = labels
        .split("\" ")
        .map(|label| {
            let (key, value) = label.trim().split_once("=\"").unwrap();
            (key.to_owned(), value.trim_end_matches('"').to_owned())
        })
        .collect();
    let mut ours = config["Labels"].as_object().unwrap().clone();
    // Docker writes a time of its own beside the labels.
    ours.remove("org.opencontainers.image.created").unwrap();
    let keys: BTreeSet<_> = ours.keys().collect();
    assert_eq!(keys, labels.keys().collect());
    for (key, value) in &labels {
        // Not those that the build is told.
        if !value.starts_with("${") {
            assert_eq!(ours[key], **value, "{key}");
        }
    }
    let version = format!("VERSION={}", env!("CARGO_PKG_VERSION"));
    assert!(all("ARG").contains(&version), "{:?}", all("ARG"));

    for copy in all("COPY") {
        let target = copy.rsplit(' ').next().unwrap();
        let path = Path::new(target.trim_start_matches('/'));
        assert!(image.files.contains_key(path), "{target}");
        if let Some(owner) = copy.split("--chown=").nth(1) {
            let owner = owner.split(' ').next().unwrap();
            assert_eq!(config["User"], owner, "{copy}");
        }
    }

    let rust = env!("CARGO_PKG_RUST_VERSION");
    for line in [
        format!("FROM rust:{rust}-bookworm AS build"),
        format!("ENV RUSTUP_TOOLCHAIN={rust}.0"),
    ] {
        assert!(dockerfile.lines().any(|one| one == line), "{line}");
    }
}
