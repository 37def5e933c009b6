#!/bin/sh
# Makes a virtual environment for each peer of the benchmarks, outside of this checkout, and one for
# this checkout with what it needs and no more (TensorFlow imports JAX and Matplotlib where they are).
#
#     sh benchmarks/peers/setup.sh [tsfusion] [neuralforecast] [pytorch-forecasting] [darts] [baselines]
#
# Without names, all of them (about 1.5 GB each with PyTorch). They go to $TSFUSION_PEERS, by
# default ~/.cache/tsfusion-peers. PyTorch is the CPU build, from $TORCH_INDEX, by default PyTorch's
# own index. The versions are those that the figures in README.md were measured with.
set -eu

folder=${TSFUSION_PEERS:-$HOME/.cache/tsfusion-peers}
here=$(cd "$(dirname "$0")/../.." && pwd)
index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
torch="torch==2.13.0+cpu numpy==2.4.6"

install() { # NAME PACKAGE...
    name=$1
    shift
    echo "$name: $* into $folder/$name"
    "${PYTHON:-python3}" -m venv "$folder/$name"
    "$folder/$name/bin/pip" install --quiet --extra-index-url "$index" "$@"
}

mkdir -p "$folder"
[ $# -gt 0 ] || set -- tsfusion neuralforecast pytorch-forecasting darts baselines
for peer in "$@"; do
    case $peer in
    tsfusion)
        install "$peer" --editable "$here" ;;
    neuralforecast)
        install "$peer" neuralforecast==3.3.0 pytorch-lightning==2.6.6 pandas==3.1.1 $torch ;;
    pytorch-forecasting)
        install "$peer" pytorch-forecasting==1.8.0 lightning==2.6.6 pandas==3.0.6 $torch ;;
    darts)
        install "$peer" darts==0.48.1 pytorch-lightning==2.6.6 pandas==3.1.1 $torch ;;
    baselines)
        install "$peer" statsforecast==2.1.1 mlforecast==1.1.0 lightgbm==4.7.0 pandas==2.3.3 ;;
    *)
        echo "expected tsfusion, neuralforecast, pytorch-forecasting, darts or baselines, got $peer" >&2
        exit 2 ;;
    esac
done
