//! `cargo xtask image`: an OCI image of `hotswap` without a container engine.
//!
//! The image has two layers: what a program needs of a system (shared libraries, certificates of
//! authorities, names of users), and the program with its bill of materials. All that goes in has
//! the time of the commit, so the same program gives the same digest.

mod layer;
mod layout;
mod libraries;
mod sbom;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::shell::{self, Workspace};
use layer::Layer;
use layout::Image;
use sbom::Sbom;

/// The user that the program runs as: nobody's number on common systems, and not root.
const USER: u64 = 65532;

/// The package of the program.
const PACKAGE: &str = "hotswap";

/// Where the system keeps the certificates of authorities, as Debian, Alpine and Fedora do.
const AUTHORITIES: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// How large the compressed layers of a release may be together, in bytes.
const SIZE_LIMIT: usize = 40_000_000;

/// `cargo xtask image`.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// The program to pack; built in release mode if absent
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// The name and tag that an import gives the image [default: localhost/hotswap:VERSION]
    #[arg(long, value_name = "NAME:TAG")]
    name: Option<String>,
    /// The archive to write, in the layout of OCI
    #[arg(long, value_name = "FILE", default_value = "target/hotswap-image.tar")]
    output: PathBuf,
    /// Build twice, each time from nothing, and refuse images that differ or are over 40 MB
    #[arg(long, conflicts_with = "binary")]
    verify: bool,
}

impl ImageArgs {
    /// Packs this program under this name, into this archive.
    pub fn of(binary: PathBuf, name: String, output: PathBuf) -> Self {
        Self {
            binary: Some(binary),
            name: Some(name),
            output,
            verify: false,
        }
    }
}

/// What an image is made of.
#[derive(Debug)]
struct Contents {
    program: Vec<u8>,
    architecture: &'static str,
    /// Shared libraries by their paths in the image.
    libraries: Vec<(PathBuf, Vec<u8>)>,
    authorities: Vec<u8>,
    license: Vec<u8>,
    sbom: Vec<u8>,
    version: String,
    commit: Commit,
}

/// The state of the sources.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Its hash, with `-modified` where files differ from it.
    pub revision: String,
    /// Seconds since 1970.
    seconds: u64,
    /// The same as RFC 3339.
    date: String,
}

/// Writes the image, and prints its digest.
///
/// # Errors
/// If the program does not build, or something that the image needs is not on this machine, and with
/// `--verify` if two builds differ or the image is too large.
pub fn write(workspace: &Workspace, arguments: &ImageArgs) -> Result<()> {
    let contents = match &arguments.binary {
        Some(program) => Contents::gather(workspace, program)?,
        None if arguments.verify => build_twice(workspace)?,
        None => Contents::gather(workspace, &build_release(workspace, &target(workspace))?)?,
    };
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => format!("localhost/hotswap:{}", contents.version),
    };
    let image = contents.image();
    image.write(&name, &arguments.output)?;
    eprintln!("wrote {} as {name}", arguments.output.display());
    println!("{}", image.digest());
    Ok(())
}

fn target(workspace: &Workspace) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| workspace.root().join("target"))
}

/// Builds the program in release mode into a target folder, and returns its path.
fn build_release(workspace: &Workspace, target: &Path) -> Result<PathBuf> {
    let mut build = workspace.cargo(&["build", "--release", "--locked", "--package", PACKAGE]);
    shell::run(build.arg("--target-dir").arg(target))?;
    Ok(target.join("release/hotswap"))
}

/// Builds twice, compares the images, and returns what the second is made of.
fn build_twice(workspace: &Workspace) -> Result<Contents> {
    let target = target(workspace).join("verified");
    let build = || -> Result<Contents> {
        // The second build has the path of the first: the program holds paths of generated sources.
        // It shall use nothing of it.
        if target.exists() {
            fs::remove_dir_all(&target)?;
        }
        Contents::gather(workspace, &build_release(workspace, &target)?)
    };
    let (first, second) = (build()?, build()?);
    verify(&first.image(), &second.image(), SIZE_LIMIT)?;
    fs::remove_dir_all(&target)?;
    Ok(second)
}

/// Whether two images are the same, and their layers no larger than `limit` bytes together.
fn verify(first: &Image, second: &Image, limit: usize) -> Result<()> {
    let (one, other) = (first.digest(), second.digest());
    ensure!(
        one == other,
        "two builds of one commit differ: {one} and {other}"
    );
    let size = first.compressed_size();
    ensure!(
        size <= limit,
        "the layers have {size} bytes, and {limit} is the limit"
    );
    eprintln!("two builds are the same; the layers have {size} of {limit} bytes");
    Ok(())
}

impl Contents {
    fn gather(workspace: &Workspace, program: &Path) -> Result<Self> {
        let libraries = libraries::of(program)?;
        let program = strip(program)?;
        let commit = Commit::of(workspace)?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let authorities = AUTHORITIES.iter().find_map(|path| fs::read(path).ok());
        let sbom = Sbom::read(workspace)?;
        Ok(Self {
            architecture: architecture(&program)?,
            sbom: sbom.document(&version, &commit, &program, &libraries),
            authorities: authorities.with_context(|| {
                format!(
                    "no certificates of authorities in {}: install the package ca-certificates",
                    AUTHORITIES.join(" or ")
                )
            })?,
            license: fs::read(workspace.root().join("LICENSE"))?,
            program,
            libraries,
            version,
            commit,
        })
    }

    fn image(&self) -> Image {
        let mut system = Layer::new(self.commit.seconds);
        system.folder("tmp", 0o1777, 0);
        system.folder("var/lib/hotswap", 0o750, USER);
        system.file("etc/passwd", passwd().as_bytes(), 0o644);
        system.file("etc/group", group().as_bytes(), 0o644);
        system.file("etc/nsswitch.conf", b"hosts: files dns\n", 0o644);
        system.file(
            "etc/ssl/certs/ca-certificates.crt",
            &self.authorities,
            0o644,
        );
        for (path, library) in &self.libraries {
            system.file(path, library, 0o755);
        }
        let mut program = Layer::new(self.commit.seconds);
        program.file("usr/bin/hotswap", &self.program, 0o755);
        program.file("usr/share/doc/hotswap/LICENSE", &self.license, 0o644);
        program.file("usr/share/sbom/hotswap.spdx.json", &self.sbom, 0o644);
        Image::new(
            [system, program],
            self.architecture,
            &self.version,
            &self.commit,
        )
    }
}

impl Commit {
    /// That of the checkout.
    ///
    /// # Errors
    /// If git does not know it.
    pub fn of(workspace: &Workspace) -> Result<Self> {
        let git = |arguments: &[&str]| -> Result<String> {
            let mut git = workspace.command("git");
            let output = shell::read_stdout(git.args(arguments))?;
            Ok(String::from_utf8(output)?.trim().to_owned())
        };
        let shown = git(&["log", "-1", "--format=%H %ct"])?;
        let parts = shown.split_once(' ');
        let (hash, seconds) =
            parts.with_context(|| format!("git says nothing of the last commit: {shown}"))?;
        let is_modified = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
        let seconds: u64 = seconds.parse().context("the time of the commit")?;
        Ok(Self {
            revision: format!("{hash}{}", if is_modified { "-modified" } else { "" }),
            seconds,
            date: rfc3339(seconds),
        })
    }
}

/// A time as RFC 3339, by the algorithm of Howard Hinnant for dates of the common calendar.
fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The program without symbols, which are half of it.
fn strip(program: &Path) -> Result<Vec<u8>> {
    let strip = shell::find_program("strip").context("there is no strip: install binutils")?;
    let (process, thread) = (std::process::id(), std::thread::current().id());
    let stripped = format!("hotswap-stripped-{process}-{thread:?}");
    let stripped = std::env::temp_dir().join(stripped);
    let mut command = Command::new(strip);
    command
        .arg("--strip-all")
        .arg("-o")
        .arg(&stripped)
        .arg(program);
    shell::run(&mut command)?;
    let bytes = fs::read(&stripped);
    fs::remove_file(&stripped)?;
    Ok(bytes?)
}

/// The architecture of a program, as OCI calls it: from the header of its ELF file.
fn architecture(program: &[u8]) -> Result<&'static str> {
    ensure!(
        program.starts_with(b"\x7fELF"),
        "the program is no ELF file"
    );
    match program.get(18..20) {
        Some([0x3e, 0]) => Ok("amd64"),
        Some([0xb7, 0]) => Ok("arm64"),
        machine => bail!("the program is for another machine: {machine:?}"),
    }
}

fn passwd() -> String {
    format!(
        "root:x:0:0:root:/:/sbin/nologin\nhotswap:x:{USER}:{USER}:hotswap:/var/lib/hotswap:/sbin/nologin\n"
    )
}

fn group() -> String {
    format!("root:x:0:\nhotswap:x:{USER}:\n")
}
