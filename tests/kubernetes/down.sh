#!/usr/bin/env bash
# Ends the node that up.sh has started, with everything of it:
#
#   down.sh FOLDER
#
# The node's first process is in FOLDER/pid. When it ends, the kernel ends every process of the node
# and drops its mounts and its network. Only control groups stay, and are removed here. Logs stay in
# FOLDER/log.
set -uo pipefail
folder=$(cd "${1:?FOLDER}" && pwd)
# A process id may have been given to another process since: its start time tells.
started() { awk '{print $22}' "/proc/$1/stat" 2>/dev/null; }
if [ -s "$folder/pid" ]; then
  pid=$(cat "$folder/pid")
  if [ "$(started "$pid")" = "$(cat "$folder/pid.started")" ]; then
    kill -KILL "$pid"
    for _ in $(seq 200); do [ -e "/proc/$pid" ] || break; sleep 0.1; done
    [ -e "/proc/$pid" ] && { echo "the node does not end: process $pid" >&2; exit 1; }
  fi
fi
[ -s "$folder/link" ] && ip link delete "$(cat "$folder/link")" 2>/dev/null
if [ -s "$folder/group" ]; then
  group=$(cat "$folder/group")
  for _ in $(seq 50); do
    left=
    for found in /sys/fs/cgroup/"$group" /sys/fs/cgroup/*/"$group"; do
      [ -d "$found" ] || continue
      find "$found" -depth -type d -exec rmdir {} + 2>/dev/null
      [ -d "$found" ] && left=$found
    done
    [ -z "$left" ] && break
    sleep 0.2
  done
  [ -n "$left" ] && echo "cannot remove the control group $left" >&2
fi
rm -rf "$folder"/{pid,pid.started,link,group,containerd,kubelet,etcd,cni,volumes,run} "$folder/kubeconfig"
exit 0
