#!/usr/bin/env bash
# Makes the image of the Dockerfile by Buildah, compares it with the one of `cargo xtask image`, and imports
# it into a node that is up:
#
#   dockerfile-image.sh FOLDER NAME:TAG PROGRAM ARCHIVE
#
# There is no registry, so stand-ins take the place of the images that the Dockerfile starts from: a shell
# with a cargo that compiles nothing, and gives PROGRAM once it has seen that it is called right; and the
# libraries that PROGRAM needs. All else is as in every build: each instruction, what is copied, the user.
# ARCHIVE is what `cargo xtask image` has written.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=root.sh
. "$here/root.sh"
folder=$1 name=$2 program=$(realpath "$3") archive=$4
repository=$here/../..
packages=${XDG_CACHE_HOME:-$HOME/.cache}/hotswap/kubernetes-packages
libraries=$(echo /usr/lib/*-linux-gnu*)
# What Buildah starts of itself has no LD_LIBRARY_PATH. So its libraries are laid over those of this machine, for
# this process and what it starts.
if [ -z "${HOTSWAP_OVERLAID-}" ]; then
  HOTSWAP_OVERLAID=1 exec unshare --mount "$0" "$@"
fi
mount -t overlay -o "lowerdir=$packages$libraries:$libraries" overlay "$libraries"

work=$(mktemp --directory)
trap 'rm -r "$work"' EXIT
mkdir "$work/tmp" "$work/build" "$work/system"
echo '{"default": [{"type": "insecureAcceptAnything"}]}' > "$work/policy.json"
echo 'unqualified-search-registries = ["docker.io"]' > "$work/registries.conf"
# The folder also of what `--mount=type=cache` keeps.
export TMPDIR=$work/tmp BUILDAH_ISOLATION=chroot
# Some commands know it, and others refuse it.
policy=--signature-policy=$work/policy.json
buildah() {
  "$packages/usr/bin/buildah" --root "$work/store" --runroot "$work/run" --storage-driver vfs \
    --registries-conf "$work/registries.conf" "$@"
}

for tool in sh cp install mkdir strip; do add_program "$work/build" "$tool" "$(command -v "$tool")"; done
tools=$work/build/usr/local/cargo/bin
mkdir -p "$tools" "$work/build/tmp"
cat > "$tools/rustup" <<'END'
#!/bin/sh
[ "$*" = "target add wasm32-unknown-unknown" ]
END
cat > "$tools/cargo" <<'END'
#!/bin/sh
set -ex
[ "$*" = "build --release --locked --package hotswap" ]
[ -f Cargo.lock ] && [ -f cli/Cargo.toml ]
# What .dockerignore names.
[ ! -e .git ]
mkdir -p target/release
cp /programs/hotswap target/release/hotswap
END
chmod 755 "$tools/rustup" "$tools/cargo"
mkdir -m 1777 "$work/system/tmp"
add_program "$work/system" hotswap "$program"
# The Dockerfile brings it.
rm -r "$work/system/bin"

stand_in() { # ROOT NAME
  local container
  container=$(buildah from scratch)
  buildah copy --quiet "$container" "$1" / > /dev/null
  buildah config --env PATH=/usr/local/cargo/bin:/bin "$container"
  buildah commit --quiet "$policy" "$container" "$2" > /dev/null
}
image_of() { sed --quiet --regexp-extended "s/^FROM ([^ ]+)$1\$/\1/p" "$repository/Dockerfile"; }
stand_in "$work/build" "docker.io/library/$(image_of ' AS build')"
stand_in "$work/system" "$(image_of '')"
buildah build "$policy" --pull-never --volume "$(dirname "$program"):/programs:ro" \
  --tag "$name" "$repository" >&2

task=$(buildah pull --quiet "$policy" "oci-archive:$archive")
config_of() {
  for field in User Entrypoint WorkingDir ExposedPorts StopSignal; do
    buildah inspect --type image --format "$field {{.OCIv1.Config.$field}}" "$1"
    echo
  done
}
config_of "$name" > "$work/config"
config_of "$task" > "$work/config.task"
diff "$work/config" "$work/config.task" >&2
buildah push --quiet "$policy" "$name" "docker-archive:$work/image.tar:$name"
"$here/import.sh" "$folder" "$work/image.tar"
