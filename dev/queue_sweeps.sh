#!/bin/sh
# A queue of sweeps, two at a time with one thread each, for days on a small machine.
#
#     dev/queue_sweeps.sh dev/real_queue.txt [PROCESSES]
#
# Each line of the file holds the arguments of one `ttsi sweep`, the most important first; # begins a comment. The same
# command again goes on where it stopped: finished points are read, interrupted ones are resumed. Ctrl-C stops after the
# present batches. A sweep that fails does not stop the others. TTSI_DATA names the folder of downloaded benchmarks.
export OMP_NUM_THREADS=1
grep -v -e '^ *#' -e '^ *$' "$1" | xargs -P "${2:-2}" -L 1 "${TTSI:-.venv/bin/ttsi}" sweep --quiet
