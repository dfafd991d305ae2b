//! The servers that the tests start and Go builds. `xtask`, which builds them, compiles this file
//! too.

use std::io;
use std::path::PathBuf;

use crate::venv::cache_folder;

/// A server of which a module in `tests/servers` pins the source.
pub struct GoProgram {
    /// Its name, which is also that of the module's folder.
    pub name: &'static str,
    /// The version that the module names.
    pub version: &'static str,
    /// The package that it is built from.
    pub package: &'static str,
    /// Flags for the linker, besides those that make it small.
    pub linker_flags: &'static str,
}

/// HashiCorp Consul.
pub const CONSUL: GoProgram = GoProgram {
    name: "consul",
    version: "1.20.1",
    package: "github.com/hashicorp/consul",
    linker_flags: "",
};

/// The API server of Kubernetes. Without the flags it calls itself v0.0.0.
pub const KUBE_APISERVER: GoProgram = GoProgram {
    name: "kube-apiserver",
    version: "1.30.14",
    package: "k8s.io/kubernetes/cmd/kube-apiserver",
    linker_flags: "-X k8s.io/component-base/version.gitVersion=v1.30.14 \
                   -X k8s.io/component-base/version.gitMajor=1 \
                   -X k8s.io/component-base/version.gitMinor=30",
};

impl GoProgram {
    /// Where it lies: in the user's cache folder, so that all checkouts share it. It may not exist
    /// yet.
    ///
    /// # Errors
    /// If the user has no cache folder.
    pub fn cached(&self) -> io::Result<PathBuf> {
        let folder = cache_folder()?.join(format!("{}-{}", self.name, self.version));
        Ok(folder.join(self.name))
    }
}
