#!/usr/bin/env bash
# The inside of the node: up.sh starts it in namespaces of its own. Prepares them, and runs the parts
# of Kubernetes until it is killed.
#
#   box.sh FOLDER ADDRESS CONTROLLERS
#
# CONTROLLERS are those of control groups of version 1, or the word cgroup2.
set -euo pipefail
folder=$1 address=$2 controllers=$3
# shellcheck source=/dev/null
. "$folder/programs.env"

# /proc still shows the machine's numbers: this is the process id by which down.sh finds the node.
pid=$(awk '/^PPid:/{print $2}' /proc/self/status)
awk '{print $22}' "/proc/$pid/stat" > "$folder/pid.started"
echo "$pid" > "$folder/pid"

mount --make-rshared /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
if [ "$controllers" = cgroup2 ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  # A group that passes controllers on may hold no process: up.sh has put this one into a group below.
  read -ra available < /sys/fs/cgroup/cgroup.controllers
  for controller in "${available[@]}"; do
    echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control
  done
else
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  for controller in $controllers; do
    mkdir "/sys/fs/cgroup/$controller"
    options=$controller
    [ "$controller" = systemd ] && options=none,name=systemd
    mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$controller"
  done
fi
# Folders whose names Kubernetes fixes are private to the node.
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib
for name in kubelet cni; do
  mkdir -p "$folder/$name" "/var/lib/$name"
  mount --bind "$folder/$name" "/var/lib/$name"
done
mount --make-rshared /var/lib/kubelet
mount --bind "$folder/log" /var/log
mkdir -p /run/containerd
ln -s "$folder/containerd.sock" /run/containerd/containerd.sock
# The kubelet writes these settings, which are the whole machine's, where they are not what it wants.
# It is shown files that hold that already.
mkdir -p "$folder/run"
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
               kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=$folder/run/${setting//[\/=]/_}
  echo "${setting#*=}" > "$file"
  mount --bind "$file" "/proc/sys/${setting%=*}"
done
hostname node1
echo 1 > /proc/sys/net/ipv4/ip_forward
[ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] && echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables
ip link set lo up
# The machine moves it in.
for _ in $(seq 100); do ip link show eth0 > /dev/null 2>&1 && break; sleep 0.05; done
ip address add "$address/30" dev eth0
ip link set eth0 up
ip route add default via "${address%.*}.1"

# Runs a part, and starts it again where it ends.
part() {
  local name=$1
  shift
  while :; do
    "$@" < /dev/null || true
    echo "--- $name has ended"
    sleep 1
  done >> "$folder/log/$name.log" 2>&1 &
}
keys=$folder/keys
part etcd etcd --data-dir="$folder/etcd" --unsafe-no-fsync
part containerd containerd --config="$folder/containerd.toml"
part kube-apiserver kube-apiserver \
  --etcd-servers=http://127.0.0.1:2379 --advertise-address="$address" \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
  --client-ca-file="$keys/ca.crt" \
  --tls-cert-file="$keys/apiserver.crt" --tls-private-key-file="$keys/apiserver.key" \
  --kubelet-client-certificate="$keys/kubelet-client.crt" \
  --kubelet-client-key="$keys/kubelet-client.key" \
  --kubelet-preferred-address-types=InternalIP --service-cluster-ip-range=10.96.0.0/16 \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local \
  --service-account-key-file="$keys/accounts.pub" \
  --service-account-signing-key-file="$keys/accounts.key" \
  --requestheader-client-ca-file="$keys/ca.crt" --requestheader-allowed-names=front-proxy \
  --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group \
  --requestheader-username-headers=X-Remote-User --enable-aggregator-routing=true \
  --proxy-client-cert-file="$keys/front-proxy.crt" --proxy-client-key-file="$keys/front-proxy.key"
# Each of the others would end without it, and be started again.
for _ in $(seq 600); do
  curl --silent --fail --cacert "$keys/ca.crt" --cert "$keys/admin.crt" --key "$keys/admin.key" \
    "https://$address:6443/readyz" > /dev/null && break
  sleep 0.2
done
# Whatever asks the API server often may: there is one node, and tests wait for it.
fast=(--kube-api-qps=200 --kube-api-burst=400 --leader-elect=false --bind-address=127.0.0.1)
part kube-controller-manager kube-controller-manager "${fast[@]}" \
  --kubeconfig="$folder/kube-controller-manager.conf" --use-service-account-credentials=true \
  --root-ca-file="$keys/ca.crt" --service-account-private-key-file="$keys/accounts.key" \
  --flex-volume-plugin-dir="$folder/run"
part kube-scheduler kube-scheduler "${fast[@]}" --kubeconfig="$folder/kube-scheduler.conf"
part kubelet kubelet --config="$folder/kubelet.yaml" --kubeconfig="$folder/kubelet.conf" \
  --hostname-override=node1 --node-ip="$address"
part kube-proxy kube-proxy --config="$folder/kube-proxy.yaml"
part kube-router kube-router --kubeconfig="$folder/kubeconfig" --hostname-override=node1 \
  --run-firewall=true --run-router=false --run-service-proxy=false --run-loadbalancer=false \
  --service-cluster-ip-range=10.96.0.0/16 --metrics-port=0
while :; do wait || true; sleep 1; done
