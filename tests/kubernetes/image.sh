#!/usr/bin/env bash
# Makes an image of one static program, or of a folder that holds the root of a file system, and imports it
# into a node that is up:
#
#   image.sh FOLDER NAME:TAG PROGRAM|ROOT
set -euo pipefail
folder=$1 name=$2 content=$3
work=$(mktemp --directory)
trap 'rm -r "$work"' EXIT
mkdir -p "$work/layout/blobs/sha256"
entry_point=
if [ -d "$content" ]; then
  root=$content
else
  root=$work/root
  mkdir "$root"
  cp "$content" "$root/program"
  entry_point='"Entrypoint": ["/program"]'
fi
tar --create --directory="$root" --sort=name --mtime=@0 --owner=0 --group=0 --file="$work/layer" .
# Every file of the layout is named by its own digest.
put() {
  digest=$(sha256sum "$1" | cut -d' ' -f1) size=$(stat --format=%s "$1")
  mv "$1" "$work/layout/blobs/sha256/$digest"
}
put "$work/layer"
layer=$digest layer_size=$size
cat > "$work/config" <<END
{"architecture": "$(dpkg --print-architecture)", "os": "linux", "config": {$entry_point},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]}}
END
put "$work/config"
cat > "$work/manifest" <<END
{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
 "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:$digest", "size": $size},
 "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:$layer", "size": $layer_size}]}
END
put "$work/manifest"
cat > "$work/layout/index.json" <<END
{"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
 "digest": "sha256:$digest", "size": $size, "annotations": {"io.containerd.image.name": "$name"}}]}
END
echo '{"imageLayoutVersion": "1.0.0"}' > "$work/layout/oci-layout"
tar --create --directory="$work/layout" --file="$work/image.tar" .
"$(dirname "$0")/import.sh" "$folder" "$work/image.tar"
