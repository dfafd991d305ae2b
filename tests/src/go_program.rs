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

/// The API server of Kubernetes.
pub const KUBE_APISERVER: GoProgram = GoProgram {
    tags: "",
    ..kubernetes(
        "kube-apiserver",
        "kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-apiserver",
    )
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

/// What a node of Kubernetes consists of, besides its API server, and `kubectl`. Only
/// `cargo xtask kubernetes` builds these.
pub const KUBERNETES_NODE: [GoProgram; 8] = [
    GoProgram {
        name: "metrics-server",
        module: "metrics-server",
        version: "0.7.2",
        package: "sigs.k8s.io/metrics-server/cmd/metrics-server",
        tags: "providerless",
        linker_flags: "",
        is_static: true,
    },
    kubernetes(
        KUBERNETES,
        "kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
    ),
    kubernetes(
        KUBERNETES,
        "kube-scheduler",
        "k8s.io/kubernetes/cmd/kube-scheduler",
    ),
    kubernetes(KUBERNETES, "kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    kubernetes(KUBERNETES, "kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    kubernetes(KUBERNETES, "kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    GoProgram {
        name: "coredns",
        module: "coredns",
        version: "1.11.3",
        package: ".",
        tags: "",
        linker_flags: "",
        is_static: true,
    },
    GoProgram {
        name: "pause",
        module: "pause",
        version: "1.0.0",
        package: ".",
        tags: "",
        linker_flags: "",
        is_static: true,
    },
];

const KUBERNETES: &str = "kubernetes";

/// A program of Kubernetes. Without the flags it calls itself v0.0.0, and charts that name the
/// version that they need refuse it. Without the tag it brings the SDKs of clouds.
const fn kubernetes(module: &'static str, name: &'static str, package: &'static str) -> GoProgram {
    GoProgram {
        name,
        module,
        version: "1.30.14",
        package,
        tags: "providerless",
        linker_flags: "-X k8s.io/component-base/version.gitVersion=v1.30.14 \
                       -X k8s.io/component-base/version.gitMajor=1 \
                       -X k8s.io/component-base/version.gitMinor=30 \
                       -X k8s.io/client-go/pkg/version.gitVersion=v1.30.14 \
                       -X k8s.io/client-go/pkg/version.gitMajor=1 \
                       -X k8s.io/client-go/pkg/version.gitMinor=30",
        is_static: false,
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
