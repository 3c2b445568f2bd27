#!/bin/sh
# Stands for an operator's own commands (docs/command-cluster.md): answers from the files beside it, and leaves there what it is told to do.
set -eu
dir=$(dirname "$0")
verb=${1:-} node=${2:-}
[ "${RACKCTL_TOKEN:-}" = "$(cat "$dir/token")" ] || { echo "RACKCTL_TOKEN is not the right one" >&2; exit 77; }
known() { [ -n "$node" ] && [ -f "$dir/status/$node" ] || { echo "no node '$node'" >&2; exit 69; }; }
case $verb in
nodes) cat "$dir/nodes" ;;
status | running) known && cat "$dir/$verb/$node" ;;
drain | undrain) known && echo "$verb" >"$dir/asked/.$node" && mv "$dir/asked/.$node" "$dir/asked/$node" ;;
*)
    echo "usage: rackctl nodes | status NODE | running NODE | drain NODE | undrain NODE" >&2
    exit 64
    ;;
esac
