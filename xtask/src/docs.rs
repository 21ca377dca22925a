//! The book and the API documentation.

use crate::{apt, cargo, links};
use cos_testkit::{paths, process};
use std::process::Command;

/// Where the book is served.
const PORT: &str = "3000";

/// `cargo xtask docs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Serve the book on 127.0.0.1:3000 until interrupted.
    #[arg(long)]
    serve: bool,
}

/// Builds both, and serves the book when asked to.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    api()?;
    book()?;
    let book = paths::target().join("book");
    println!("book: {}", book.join("index.html").display());
    println!(
        "api:  {}",
        paths::target().join("doc/cos_tree/index.html").display()
    );
    if !arguments.serve {
        return Ok(());
    }
    apt::ensure(&["python3-minimal"])?;
    println!("serving on http://127.0.0.1:{PORT}/");
    process::run(
        Command::new("python3")
            .args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"])
            .arg(&book)
            .arg(PORT),
    )
}

/// The API documentation of the workspace's own crates. Warnings are errors.
pub(crate) fn api() -> anyhow::Result<()> {
    process::run(
        cargo::command("doc")
            .args(["--workspace", "--exclude", "cos-fuzz"])
            .args(["--no-deps", "--locked", "--quiet"])
            .env("RUSTDOCFLAGS", "--deny warnings"),
    )
}

/// The book, after a check that every link between its pages and to files of this tree leads
/// somewhere and that every page is in its table of contents.
pub(crate) fn book() -> anyhow::Result<()> {
    let root = paths::workspace();
    links::check(&root)?;
    let mdbook = cargo::MDBOOK.ensure()?;
    process::run(
        Command::new(mdbook)
            .args(["build", "docs", "--dest-dir"])
            .arg(paths::target().join("book"))
            .current_dir(root),
    )
}
