#!/usr/bin/env bash
# Starts a real Kubernetes of one node: etcd, API server, controllers, scheduler, containerd with
# runc, kubelet, kube-proxy, a bridge network, kube-router, which enforces NetworkPolicies and does nothing
# else, CoreDNS and metrics-server. Returns when the node is ready, and what runs in the cluster, too.
#
#   up.sh FOLDER VERSION
#
# Afterwards FOLDER/kubeconfig is for kubectl and helm, `FOLDER/inside COMMAND…` runs a command where
# the addresses of services and pods are reached, and FOLDER/log has a log of every part. down.sh ends
# it. The programs are those that `cargo xtask kubernetes` has built into the user's cache folder.
#
# The node is a box of its own: it has its own network, mounts, processes, control groups and host
# name. So every part listens on its usual port, and the rules of kube-proxy do not touch the machine,
# which sees one more interface, with a network of 198.18.0.0/15 (set aside for tests), and one control
# group, in each hierarchy where the machine has version 1 of them.
#
# Needs root, overlayfs, control groups (version 1 or 2), iproute2, util-linux, openssl and curl.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:?FOLDER}"
folder=$(cd "$1" && pwd) version=${2:?VERSION}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hotswap packages=$cache/kubernetes-packages
# A socket's path has 107 characters at most, and the node has its own /run and /var.
case $folder/ in /run/*|/var/*|/proc/*|/sys/*) echo "not below /run or /var: $folder" >&2; exit 2;; esac
[ ${#folder} -le 80 ] || { echo "too long for the path of a socket: $folder" >&2; exit 2; }
case $(stat --file-system --format=%T /sys/fs/cgroup) in
  tmpfs) controllers= ;;
  cgroup2fs) controllers=cgroup2 ;;
  *) echo "no control groups at /sys/fs/cgroup" >&2; exit 2 ;;
esac
# A kernel that has them as modules, and does not load them by itself.
modprobe --all --quiet overlay br_netfilter 2> /dev/null || true
"$here/down.sh" "$folder"

number=$(printf %s "$folder" | cksum | cut -d' ' -f1)
network=198.18.$((number % 256)) link=hs$((number % 10000000)) group=hotswap-$((number % 10000000))
address=$network.2
keys=$folder/keys
mkdir -p "$keys" "$folder/log/pods" "$folder/log/containers" "$folder/network" "$folder/run"
rm -f "$folder"/log/*.log

programs=
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
  [ -x "$cache/$program-$version/$program" ] ||
    { echo "no $program: run cargo xtask kubernetes" >&2; exit 2; }
  programs=$programs$cache/$program-$version:
done
router=$cache/kube-router-2.1.0
[ -x "$router/kube-router" ] || { echo "no kube-router: run cargo xtask kubernetes" >&2; exit 2; }
programs=$programs$router:
ln -sf "$cache/kubectl-$version/kubectl" "$folder/kubectl"
libraries=$(echo "$packages"/usr/lib/*-linux-gnu*)
cat > "$folder/programs.env" <<END
export PATH="$programs$packages/usr/sbin:$packages/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export LD_LIBRARY_PATH="$libraries" XTABLES_LIBDIR="$libraries/xtables"
END

# --- Certificates: one authority, and one for each part ---
cd "$keys"
openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -new -key ca.key -subj /CN=kubernetes -days 30 -out ca.crt
openssl genrsa -out accounts.key 2048 2> /dev/null
openssl rsa -in accounts.key -pubout -out accounts.pub 2> /dev/null
certificate() { # FILE SUBJECT [NAMES]
  openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
  openssl req -new -key "$1.key" -subj "$2" |
    openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" 2> /dev/null \
      -extfile <(echo "extendedKeyUsage=clientAuth,serverAuth"; echo "${3:+subjectAltName=$3}")
}
certificate apiserver /CN=kube-apiserver \
  "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:10.96.0.1,IP:$address"
certificate kubelet-client /O=system:masters/CN=kubelet-client
certificate front-proxy /CN=front-proxy
certificate admin /O=system:masters/CN=admin
certificate kubelet /O=system:nodes/CN=system:node:node1
certificate kube-controller-manager /CN=system:kube-controller-manager
certificate kube-scheduler /CN=system:kube-scheduler
certificate kube-proxy /CN=system:kube-proxy
kubeconfig() { # FILE CERTIFICATE
  local authority certificate key
  authority=$(base64 --wrap=0 ca.crt) certificate=$(base64 --wrap=0 "$2.crt") key=$(base64 --wrap=0 "$2.key")
  cat > "$1" <<END
apiVersion: v1
kind: Config
clusters: [{name: node1, cluster: {server: "https://$address:6443", certificate-authority-data: $authority}}]
users: [{name: user, user: {client-certificate-data: $certificate, client-key-data: $key}}]
contexts: [{name: node1, context: {cluster: node1, user: user}}]
current-context: node1
END
  chmod 600 "$1"
}
kubeconfig "$folder/kubeconfig" admin
for part in kubelet kube-controller-manager kube-scheduler kube-proxy; do
  kubeconfig "$folder/$part.conf" "$part"
done
cd "$folder"

# --- Configuration ---
# restrict_oom_score_adj: root of a container may lack the capability to lower it, and then no pod starts.
cat > containerd.toml <<END
version = 2
root = "$folder/containerd"
state = "/run/containerd"
[grpc]
  address = "$folder/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$folder/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1.0.0"
  disable_apparmor = true
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "$packages/usr/sbin/runc"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "$packages/usr/lib/cni"
  conf_dir = "$folder/network"
END
cat > network/10-bridge.conflist <<END
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]}
END
: > resolv.conf
# The disk is the machine's: no image is thrown away and no pod evicted because others fill it.
cat > kubelet.yaml <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $keys/ca.crt}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://$folder/containerd.sock
cgroupDriver: cgroupfs
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: $folder/resolv.conf
failSwapOn: false
volumePluginDir: $folder/run
oomScoreAdj: 0
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%}
END
# The size of the connection table is the machine's, too.
cat > kube-proxy.yaml <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $folder/kube-proxy.conf}
hostnameOverride: node1
mode: iptables
clusterCIDR: 10.244.0.0/16
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
END

# --- The box ---
echo "$group" > group
echo "$link" > ./link
box=("$here/box.sh" "$folder" "$address")
if [ "$controllers" = cgroup2 ]; then
  # The node's group passes on whatever controllers the machine has.
  read -ra available < /sys/fs/cgroup/cgroup.controllers
  for controller in "${available[@]}"; do
    echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control ||
      echo "the node does without the controller $controller" >&2
  done
  mkdir -p "/sys/fs/cgroup/$group/parts"
  (
    # The namespace begins at the group in which it is made. Then the group has to be left: one that
    # passes controllers on may hold no process.
    echo $BASHPID > "/sys/fs/cgroup/$group/cgroup.procs"
    # shellcheck disable=SC2016
    exec setsid unshare --cgroup bash -c 'echo $$ > "$0" && exec "$@"' \
      "/sys/fs/cgroup/$group/parts/cgroup.procs" \
      unshare --net --mount --pid --ipc --uts --fork --propagation private \
      "${box[@]}" "$controllers" < /dev/null > log/box.log 2>&1
  ) &
else
  for hierarchy in /sys/fs/cgroup/*; do
    [ -f "$hierarchy/cgroup.clone_children" ] || continue
    controllers="$controllers ${hierarchy##*/}"
    mkdir -p "$hierarchy/$group"
    for file in cpuset.cpus cpuset.mems; do
      [ -f "$hierarchy/$file" ] && cat "$hierarchy/$file" > "$hierarchy/$group/$file"
    done
  done
  (
    for controller in $controllers; do echo $BASHPID > "/sys/fs/cgroup/$controller/$group/cgroup.procs"; done
    exec setsid unshare --net --mount --pid --ipc --uts --cgroup --fork --propagation private \
      "${box[@]}" "$controllers" < /dev/null > log/box.log 2>&1
  ) &
fi
for _ in $(seq 100); do [ -s pid ] && break; sleep 0.05; done
pid=$(cat pid)
# While the node is down, nothing that is meant for it may leave the machine by the default route.
ip route replace blackhole "$network.0/24"
ip link add "$link" type veth peer name eth0 netns "$pid"
ip address add "$network.1/30" dev "$link"
ip link set "$link" up
cat > inside <<END
#!/bin/sh
. "$folder/programs.env"
exec nsenter --target "$pid" --net --mount --pid --ipc --uts --cgroup -- "\$@"
END
chmod +x inside

# --- Images and DNS ---
# shellcheck source=/dev/null
. "$folder/programs.env"
export KUBECONFIG=$folder/kubeconfig
fail() { echo "$1" >&2; tail --lines=5 "$folder"/log/*.log >&2; exit 1; }
wait_for() { # WHAT COMMAND…
  local what=$1
  shift
  for _ in $(seq 900); do "$@" > /dev/null 2>&1 && return; sleep 0.1; done
  fail "not in time: $what"
}
wait_for containerd ctr --address "$folder/containerd.sock" version
"$here/image.sh" "$folder" localhost/pause:1.0.0 "$cache/pause-1.0.0/pause"
"$here/image.sh" "$folder" localhost/coredns:1.11.3 "$cache/coredns-1.11.3/coredns"
"$here/image.sh" "$folder" localhost/metrics-server:0.7.2 "$cache/metrics-server-0.7.2/metrics-server"
is_ready() { kubectl get node node1 --output 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -q True; }
wait_for "the node" is_ready
# A pod that calls a service before kube-proxy has written its rules hangs for 30 s: its connection is
# tracked as not translated.
has_rules() { ./inside nft list ruleset | grep -q 10.96.0.1; }
wait_for "the rules of kube-proxy" has_rules
kubectl apply --filename "$here/cluster.yaml" > /dev/null
# A volume is used once: each release of the tests takes new ones.
for number in $(seq 32); do
  mkdir -p "volumes/$number"
  cat <<END
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: volume-$number}
spec:
  capacity: {storage: 10Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: standard
  local: {path: $folder/volumes/$number}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node1]}]}]}}
END
done | kubectl apply --filename - > /dev/null
wait_for CoreDNS kubectl --namespace kube-system rollout status deployment/coredns --timeout=1s
wait_for metrics-server kubectl --namespace kube-system rollout status deployment/metrics-server --timeout=1s
wait_for "the default service account" kubectl get serviceaccount default
