#!/bin/sh
# Unpacks the archive beside this file and starts the GPU run: `sh run.sh --out DIR`. See README.md. Needs nothing but a
# shell: no program of the machine is called. UNPACK=DIR names the folder to unpack into, which is kept for the next run.
set -eu
case $0 in
/*) here=${0%/*} ;;
*/*) here=$PWD/${0%/*} ;;
*) here=$PWD ;;
esac
busybox=$here/busybox
# A copy may have lost the permission to execute.
[ -x "$busybox" ] && [ -x "$here/xz" ] || chmod +x "$busybox" "$here/xz"
started=$("$busybox" date +%s)
unpacked=${UNPACK:-$here/unpacked}
if [ ! -e "$unpacked/complete" ]; then
  "$busybox" mkdir -p "$unpacked"
  jobs=
  for part in "$here"/*.tar.xz; do
    { LD_LIBRARY_PATH=$here "$here/xz" -dc "$part" || echo "$part is damaged" >&2; } |
      "$busybox" tar xf - -C "$unpacked" &
    jobs="$jobs $!"
  done
  for job in $jobs; do wait "$job"; done
  : > "$unpacked/complete"
fi
# Node needs libstdc++ and libgcc_s; the machine's own go first, because its other libraries may need newer ones.
if ! "$unpacked/node" --version > /dev/null 2>&1; then
  export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$unpacked/lib-node"
fi
# An archive without bundles: those of a checkout in which it lies.
models=$unpacked/app/models
for checkout in "$PWD" "$here/.." "$here/../.."; do
  [ -d "$models" ] || models=$checkout/models
done
exec "$unpacked/node" "$unpacked/app/dist/bench/gpu/main.js" \
  --started-at "$started" --libraries "$unpacked/lib" --models "$models" "$@"
