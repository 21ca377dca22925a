//! Upgrades the store mounted at the given path, for tests that kill it or let its disk fail: a second
//! snapshot replaces the first, becomes good, and has its notes written. Given the tree of an image too,
//! it is `cos upgrade` to that.

use anyhow::{Context, Result};
use cos_boot::{Attempts, Tries};
use cos_powercut::fixture::{add, id};
use cos_store::Store;
use std::path::Path;

fn main() -> Result<()> {
    let root = std::env::args_os()
        .nth(1)
        .context("usage: cos-powercut-upgrade PATH [TREE]")?;
    if let Some(tree) = std::env::args_os().nth(2) {
        return cos_powercut::disk::upgrade_at(Path::new(&root), Path::new(&tree));
    }
    let store = Store::new(root);
    let state = store.state()?;
    store.collect(&state, &[])?;
    let new = id('b')?;
    add(&store, &new)?;
    let state = state.deploy(&new, Tries::default())?.pruned(1, None);
    store.commit(&state)?;
    let state = state.prove(&new)?;
    store.commit(&state)?;
    store.collect(&state, &[])?;
    store.write_attempts(&Attempts {
        generation: state.generation,
        snapshot: Some(new),
        count: 1,
        ..Attempts::default()
    })?;
    Ok(())
}
