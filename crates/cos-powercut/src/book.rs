//! Tables in the book.

use anyhow::{Context, Result};
use std::path::Path;

/// The page with the tables, from the root of the workspace.
const PAGE: &str = "docs/src/explanation/reliability.md";

/// Puts `text` between two marks of the page.
pub(crate) fn write(workspace: &Path, marks: [&str; 2], text: &str) -> Result<()> {
    let page = workspace.join(PAGE);
    let book = fs_err::read_to_string(&page)?;
    let [begin, end] = marks;
    let (before, rest) = book.split_once(begin).context("no place for the table")?;
    let (_, after) = rest.split_once(end).context("no place for the table")?;
    Ok(fs_err::write(
        page,
        format!("{before}{begin}\n{text}\n{end}{after}"),
    )?)
}
