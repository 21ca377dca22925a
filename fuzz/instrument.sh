#!/bin/sh
# Compiles the crates of this tree, not those they depend on, with what libFuzzer counts coverage by. Cargo starts
# it as RUSTC_WORKSPACE_WRAPPER; `cargo xtask` passes the flags.
exec "$@" $COS_FUZZ_FLAGS
