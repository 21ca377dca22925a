//! Links in Markdown lead somewhere.

use anyhow::bail;
use fs_err as fs;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The book's table of contents.
const SUMMARY: &str = "docs/src/SUMMARY.md";

/// Checks every relative link in the book and in the Markdown files of the tree's root, and that
/// the table of contents names every page.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let mut pages = BTreeSet::new();
    collect(&root.join("docs/src"), &mut pages)?;
    let summary = root.join(SUMMARY);
    let listed: BTreeSet<PathBuf> = targets(&fs::read_to_string(&summary)?)
        .iter()
        .map(|link| root.join("docs/src").join(link))
        .collect();
    let mut wrong: Vec<String> = pages
        .iter()
        .filter(|page| **page != summary && !listed.contains(*page))
        .map(|page| format!("{} is not in {SUMMARY}", page.display()))
        .collect();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.insert(path);
        }
    }
    for page in &pages {
        let directory = page.parent().unwrap_or(root);
        for link in targets(&fs::read_to_string(page)?) {
            if !directory.join(&link).exists() {
                wrong.push(format!(
                    "{}: link to {link}, which is not there",
                    page.display()
                ));
            }
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        bail!("{}", wrong.join("\n"))
    }
}

fn collect(directory: &Path, pages: &mut BTreeSet<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), pages)?;
        } else if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "md")
        {
            pages.insert(entry.path());
        }
    }
    Ok(())
}

/// The files that a Markdown text links to, without their anchors; code blocks are left out.
fn targets(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for rest in line.split("](").skip(1) {
            let link = rest.split([')', ' ', '#']).next().unwrap_or_default();
            if !link.is_empty() && !link.contains("://") && !link.starts_with("mailto:") {
                found.push(link.to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_found() {
        let text = "See [a](one.md#part), ![b](img/two.png \"title\"), [c](https://x.org/y) and [d](#here).\n\
                    ```\n[e](not-a-link.md)\n```\n[f](three.md)";
        assert_eq!(targets(text), ["one.md", "img/two.png", "three.md"]);
    }

    #[test]
    fn broken_links_and_unlisted_pages_are_named() {
        let dir = cos_testkit::temp_dir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("docs/src")).unwrap();
        fs::write(root.join(SUMMARY), "[A](a.md)\n").unwrap();
        fs::write(root.join("docs/src/a.md"), "[gone](gone.md)").unwrap();
        fs::write(root.join("docs/src/b.md"), "[a](a.md)").unwrap();
        fs::write(root.join("README.md"), "[book](docs/src/a.md)").unwrap();
        let said = format!("{:#}", check(root).unwrap_err());
        assert!(
            said.contains("b.md is not in docs/src/SUMMARY.md"),
            "{said}"
        );
        assert!(said.contains("a.md: link to gone.md"), "{said}");
        assert_eq!(said.lines().count(), 2, "{said}");
    }
}
