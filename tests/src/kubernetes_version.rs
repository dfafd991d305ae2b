//! The versions of Kubernetes on which the Helm chart is tested. `xtask`, which builds them, compiles
//! this file too.

use crate::go_program::GoProgram;

/// A version of Kubernetes of which `cargo xtask kubernetes` can start a node.
pub struct KubernetesVersion {
    /// Such as `1.30.14`.
    pub number: &'static str,
    /// The folder of the module that pins its source, in `tests/servers`.
    module: &'static str,
    /// Without these the programs call themselves v0.0.0, and charts that name the version that they
    /// need refuse them.
    linker_flags: &'static str,
}

macro_rules! version {
    ($minor:literal, $patch:literal) => {
        KubernetesVersion {
            number: concat!("1.", $minor, ".", $patch),
            module: concat!("kubernetes-1.", $minor),
            linker_flags: concat!(
                version!("k8s.io/component-base/version", $minor, $patch),
                " ",
                version!("k8s.io/client-go/pkg/version", $minor, $patch)
            ),
        }
    };
    ($package:literal, $minor:literal, $patch:literal) => {
        concat!(
            "-X ",
            $package,
            ".gitVersion=v1.",
            $minor,
            ".",
            $patch,
            " -X ",
            $package,
            ".gitMajor=1 -X ",
            $package,
            ".gitMinor=",
            $minor
        )
    };
}

/// What is tested unless another version is asked for.
pub const DEFAULT_KUBERNETES: KubernetesVersion = version!("30", "14");

/// All of them. The oldest is the oldest that the chart promises to support.
pub const KUBERNETES_VERSIONS: [KubernetesVersion; 3] = [
    version!("28", "15"),
    version!("29", "15"),
    DEFAULT_KUBERNETES,
];

/// The API server of Kubernetes. It has a module of its own, because all runs of the tests need it.
pub const KUBE_APISERVER: GoProgram = GoProgram {
    module: "kube-apiserver",
    tags: "",
    ..DEFAULT_KUBERNETES.program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver")
};

impl KubernetesVersion {
    /// The version of that number.
    pub fn find(number: &str) -> Option<Self> {
        let mut versions = KUBERNETES_VERSIONS.into_iter();
        versions.find(|version| version.number == number)
    }

    /// The programs that a node of this version consists of, and `kubectl`.
    pub fn programs(&self) -> [GoProgram; 6] {
        let api_server = if self.number == KUBE_APISERVER.version {
            KUBE_APISERVER
        } else {
            self.program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver")
        };
        [
            api_server,
            self.program(
                "kube-controller-manager",
                "k8s.io/kubernetes/cmd/kube-controller-manager",
            ),
            self.program("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
            self.program("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
            self.program("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
            self.program("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        ]
    }

    const fn program(&self, name: &'static str, package: &'static str) -> GoProgram {
        GoProgram {
            name,
            module: self.module,
            version: self.number,
            package,
            // Without it they bring the SDKs of clouds.
            tags: "providerless",
            linker_flags: self.linker_flags,
            is_static: false,
        }
    }
}
