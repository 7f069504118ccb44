#!/usr/bin/env bash
# On a machine with a CUDA GPU, in under 8 minutes: train, stop and resume, replay, predict, segment, and hold the planner
# against CUDA's allocator. Results go to $OUT, by default a temporary folder.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-$(mktemp -d)}
python=${PYTHON:-python}
export FOVEAL_CACHE="$out/cache" FOVEAL_STATE="$out/state"
foveal() { "$python" -m foveal "$@"; }

foveal doctor | tee "$out/doctor.txt"
"$python" -c 'import torch; assert torch.cuda.is_available(), "no CUDA GPU here"'

# Linear probes and fine-tuning on the embedded sample.
foveal train sample:clipart --time 75s --out "$out/clipart" --json > "$out/clipart.json"

# From scratch: stopped by SIGTERM in the middle, resumed, and replayed to the same weights.
foveal train sample:mnist --strategy scratch-minute --time 60s --out "$out/mnist" --json > "$out/mnist-stopped.json" &
pid=$!
sleep 30
kill -TERM "$pid" || true
wait "$pid" || echo "stopped with exit code $?"
[ -f "$out/mnist/summary.json" ] || foveal train --resume "$out/mnist" --json > "$out/mnist.json"
foveal train --replay "$out/mnist" --out "$out/mnist-again" --json > "$out/mnist-again.json"
cmp "$out/mnist/model/weights.safetensors" "$out/mnist-again/model/weights.safetensors" && echo "replay: same weights" \
  || echo "replay: other weights (CUDA sums in no fixed order)"

# Segmentation, and predictions of each kind of model.
foveal train sample:digit-scenes --time 60s --out "$out/scenes" --json > "$out/scenes.json"
foveal predict "$out/clipart" "$FOVEAL_CACHE"/samples/*clipart* --out "$out/predictions.csv" || true

"$python" bench/cuda_peaks.py
cp bench/results/cuda_peaks.json "$out/" 2>/dev/null || true
echo "results: $out"
