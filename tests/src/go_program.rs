//! The programs that the tests start and Go builds. `xtask`, which builds them, compiles this file
//! too.

use std::io;
use std::path::PathBuf;

use crate::venv::cache_folder;

/// A program of which a module in `tests/servers` pins the source.
pub struct GoProgram {
    /// Its name.
    pub name: &'static str,
    /// The folder of the module, in `tests/servers`.
    pub module: &'static str,
    /// The version that the module names.
    pub version: &'static str,
    /// The package that it is built from.
    pub package: &'static str,
    /// Tags of the build.
    pub tags: &'static str,
    /// Flags for the linker, besides those that make it small.
    pub linker_flags: &'static str,
    /// Whether it needs no libraries of the system, as in an image that has none.
    pub is_static: bool,
}

/// HashiCorp Consul.
pub const CONSUL: GoProgram = GoProgram {
    name: "consul",
    module: "consul",
    version: "1.20.1",
    package: "github.com/hashicorp/consul",
    tags: "",
    linker_flags: "",
    is_static: false,
};

/// Installs charts.
pub const HELM: GoProgram = GoProgram {
    name: "helm",
    module: "helm",
    version: "3.19.2",
    package: "helm.sh/helm/v3/cmd/helm",
    tags: "",
    linker_flags: "-X helm.sh/helm/v3/internal/version.version=v3.19.2",
    is_static: false,
};

/// A controller of Ingresses and of the Gateway API, and the proxy that they configure.
pub const TRAEFIK: GoProgram = GoProgram {
    name: "traefik",
    module: "traefik",
    version: "3.6.12",
    package: "github.com/traefik/traefik/v3/cmd/traefik",
    tags: "",
    linker_flags: "",
    is_static: true,
};

/// A server with the interface of Amazon S3, which keeps objects as files.
pub const VERSITYGW: GoProgram = GoProgram {
    name: "versitygw",
    module: "versitygw",
    version: "1.8.0",
    package: "github.com/versity/versitygw/cmd/versitygw",
    tags: "",
    linker_flags: "",
    is_static: true,
};

/// What a node of Kubernetes consists of, besides [the programs of its
/// version](crate::kubernetes_version::KubernetesVersion::programs). Only `cargo xtask kubernetes`
/// builds these.
pub const KUBERNETES_PARTS: [GoProgram; 4] = [
    part(
        "kube-router",
        "2.1.0",
        "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",
    ),
    part(
        "metrics-server",
        "0.7.2",
        "sigs.k8s.io/metrics-server/cmd/metrics-server",
    ),
    part("coredns", "1.11.3", "."),
    part("pause", "1.0.0", "."),
];

/// What runs in images, or in networks, that have no libraries. Without the tag it brings the SDKs of
/// clouds.
const fn part(name: &'static str, version: &'static str, package: &'static str) -> GoProgram {
    GoProgram {
        name,
        module: name,
        version,
        package,
        tags: "providerless",
        linker_flags: "",
        is_static: true,
    }
}

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
