#!/bin/sh
# Copies MathJax (one script, its fonts, its licence) out of the npm package into site_static/, so
# that the site typesets without a network. The copy is committed: building the site needs no npm.
# Run it again only to change the version.
set -eu
version=3.2.2
sha256=1b9c0a1c44df864e915690558e72adb9cc5203360daefd385084ced3b6c64c09

here=$(cd "$(dirname "$0")/.." && pwd)
target=$here/site_static/mathjax
fonts=output/chtml/fonts/woff-v2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

npm pack --silent --pack-destination "$work" "mathjax@$version" >/dev/null
echo "$sha256  $work/mathjax-$version.tgz" | sha256sum --check --quiet
tar -xzf "$work/mathjax-$version.tgz" -C "$work"

rm -rf "$target"
mkdir -p "$target/$fonts"
cp "$work/package/es5/tex-chtml.js" "$work/package/LICENSE" "$target/"
cp "$work/package/es5/$fonts/"*.woff "$target/$fonts/"
echo "MathJax $version -> $target"
