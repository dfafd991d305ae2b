#!/usr/bin/env bash
# Imports an archive with an image into a node that is up:
#
#   import.sh FOLDER ARCHIVE
set -euo pipefail
# shellcheck source=/dev/null
. "$1/programs.env"
ctr --address "$1/containerd.sock" --namespace k8s.io images import "$2" > /dev/null
