#!/usr/bin/env bash
# Fetches what a node needs of Debian, and unpacks it into a folder:
#
#   packages.sh FOLDER
#
# Unpacked, not installed: an installation would start containerd and etcd as services of this
# machine, and make iptables its own. The programs find their libraries by LD_LIBRARY_PATH, which
# up.sh sets inside the node. Buildah is for the image of the Dockerfile.
set -euo pipefail
folder=${1:?FOLDER}
# Other packages than before are fetched, too.
wanted=$(cksum < "$0")
[ -e "$folder/.complete" ] && [ "$(cat "$folder/.complete")" = "$wanted" ] && exit
mkdir -p "$folder/archives"
cd "$folder/archives"
apt-get download --quiet containerd runc containernetworking-plugins etcd-server \
  iptables nftables conntrack ipset ethtool \
  libip4tc2 libip6tc2 libnetfilter-conntrack3 libnfnetlink0 libnftnl11 libxtables12 libnftables1 \
  libipset13 libmnl0 libjansson4 libedit2 libseccomp2 \
  buildah libgpgme11 libassuan0 libsubid4 libdevmapper1.02.1
for archive in *.deb; do dpkg-deb --extract "$archive" "$folder"; done
# Debian makes these links when it installs the package.
for program in iptables ip6tables; do
  for suffix in '' -save -restore; do
    ln -sf xtables-nft-multi "$folder/usr/sbin/$program$suffix"
  done
done
rm -r "$folder/archives"
echo "$wanted" > "$folder/.complete"
