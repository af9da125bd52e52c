#!/bin/sh
# Installs the engines' packages for tests/test_adapter_*.py, without their dependencies, each into a folder of its own:
# two of them are called indextts. Usage: install.sh [python] [folder]
set -eu
python=${1:-python3}
folder=${2:-$(dirname "$0")/../../build/engines}
install() {
  name=$1
  shift
  [ -d "$folder/$name" ] || "$python" -m pip install -q --no-deps --target "$folder/$name.new" "$@"
  [ -d "$folder/$name" ] || mv "$folder/$name.new" "$folder/$name"
}
mkdir -p "$folder"
install shared torchaudio==2.11.0 torchcodec==0.17.0 s3tokenizer==0.3.0 diffusers==0.29.0 conformer==0.3.2 \
  resemble-perth==1.0.1 pyloudnorm importlib-metadata zipp coqui-tts-trainer==0.4.0 coqpit-config \
  ko-speech-tools six anyascii inflect typeguard num2words docopt pysbd monotonic-alignment-search wetext
install indextts2-inference indextts2-inference==2.1.1
install tts-webui.index-tts tts-webui.index-tts==2.0.1
install indextts25-inference indextts25-inference==0.2.0
install index-tts-2-5-onnx index-tts-2-5-onnx==0.1.0
install cosyvoice2-eu cosyvoice2-eu==0.2.8
install chatterbox-tts chatterbox-tts==0.1.7
install coqui-tts coqui-tts==0.28.0
install resemblyzer Resemblyzer==0.1.4
