#!/usr/bin/env bash
# A source archive of the committed tree, and the files to unpack over a server's folders.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
use_server "$PG_CONFIG"
cd "$ROOT"
version=$(sed -nE '/^\[workspace.package\]/,/^\[/ s/^version = "(.*)"/\1/p' Cargo.toml)
dist="$ROOT/target/dist"
mkdir -p "$dist"

git archive --format=tar.gz --prefix="leanstack-$version/" -o "$dist/leanstack-$version.tar.gz" HEAD

name="leanstack-$version-pg$PG_MAJOR-$(uname -m)"
rm -rf "${dist:?}/$name"
say "building leanstack for PostgreSQL $PG_MAJOR"
cargo pgrx package --pg-config "$PG_CONFIG" "${CARGO_FLAGS[@]}" --out-dir "$dist/$name"
cp README.md LICENSE CHANGELOG.md "$dist/$name/"
tar -C "$dist" -czf "$dist/$name.tar.gz" "$name"
ls -lh "$dist"/*.tar.gz
top=$("$PG_CONFIG" --pkglibdir | cut -d / -f 2)
echo "unpack it on a machine with the same server: tar -xzf $name.tar.gz -C / --strip-components=1 --no-same-owner $name/$top"
