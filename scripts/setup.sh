#!/usr/bin/env bash
# Brings a bare Debian 12 with Rust to where every make target works. Each step looks first, so a
# second run takes seconds. Needs root or sudo only while a package is missing.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

install_packages() {
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

if command -v apt-get >/dev/null; then
  packages=(build-essential pkg-config libssl-dev libclang-dev git python3-venv python3-pip)
  # cargo-pgrx calls sudo to run the tests' server as another user.
  [ "$(id -u)" -ne 0 ] || packages+=(sudo)
  install_packages "${packages[@]}"
  if [ "$PG_CONFIG" = pg_config ]; then
    # `postgresql` names the distribution's major.
    major=$(apt-cache depends postgresql 2>/dev/null | sed -nE 's/.*Depends: postgresql-([0-9]+)$/\1/p' | head -n 1)
    if [ -z "$major" ]; then
      as_root apt-get update -qq
      major=$(apt-cache depends postgresql | sed -nE 's/.*Depends: postgresql-([0-9]+)$/\1/p' | head -n 1)
    fi
    install_packages "postgresql-$major" "postgresql-server-dev-$major"
  fi
fi

command -v cargo >/dev/null || die "Rust is not installed: see https://rustup.rs"
rust_wanted=$(sed -nE 's/^rust-version = "(.*)"/\1/p' "$ROOT/Cargo.toml")
rust_found=$(rustc --version | cut -d ' ' -f 2)
printf '%s\n' "$rust_wanted" "$rust_found" | sort -VC || die "Rust $rust_found is older than $rust_wanted: run 'rustup update'"
for component in rustfmt clippy; do
  cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component"
done

use_server "$PG_CONFIG"
[ -f "$("$PG_CONFIG" --includedir-server)/postgres.h" ] ||
  die "the server headers of PostgreSQL $PG_MAJOR are missing (postgresql-server-dev-$PG_MAJOR on Debian)"

# One place pins pgrx: the manifest.
pgrx_version=$(sed -nE 's/^pgrx = "=([0-9.]+)"/\1/p' "$ROOT/Cargo.toml")
if [ "$(cargo pgrx --version 2>/dev/null)" != "cargo-pgrx $pgrx_version" ]; then
  say "installing cargo-pgrx $pgrx_version (some minutes)"
  cargo install --locked cargo-pgrx --version "$pgrx_version"
fi

# Another server of a major that is configured already keeps the user's configuration as it is: the
# scripts name the server they use.
pgrx_config="${PGRX_HOME:-$HOME/.pgrx}/config.toml"
if [ ! -f "$pgrx_config" ]; then
  say "cargo pgrx init for PostgreSQL $PG_MAJOR"
  cargo pgrx init "--pg$PG_MAJOR" "$PG_CONFIG"
elif ! grep -q "^pg$PG_MAJOR *=" "$pgrx_config"; then
  sed -i "/^\[configs\]/a pg$PG_MAJOR = \"$PG_CONFIG\"" "$pgrx_config"
fi
