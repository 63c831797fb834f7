#!/bin/bash
# Installs one custom node pack at one commit: install-node URL COMMIT
set -euo pipefail

url=$1
commit=$2
folder=/opt/comfyui/custom_nodes/$(basename "$url")

git init --quiet "$folder"
git -C "$folder" fetch --quiet --depth 1 "$url" "$commit"
git -C "$folder" checkout --quiet FETCH_HEAD
if [ -f "$folder/requirements.txt" ]; then
    /opt/comfyui/.venv/bin/pip install -r "$folder/requirements.txt"
fi
