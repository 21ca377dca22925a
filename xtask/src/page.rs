//! Parts of the book that a command writes.

use anyhow::Context;
use cos_testkit::paths;

/// Puts `text` between the lines `<!-- NAME -->` and `<!-- /NAME -->` of a page, a path from the workspace.
pub(crate) fn replace(page: &str, name: &str, text: &str) -> anyhow::Result<()> {
    let path = paths::workspace().join(page);
    let old = fs_err::read_to_string(&path)?;
    let new = with(&old, name, text).with_context(|| format!("{page} has no place for {name}"))?;
    fs_err::write(&path, new)?;
    println!("wrote {page}");
    Ok(())
}

fn with(page: &str, name: &str, text: &str) -> Option<String> {
    let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = page.split_once(&start)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{start}\n{}\n\n{end}{after}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let page = "a\n<!-- t -->\nold\n<!-- /t -->\nb\n";
        let new = with(page, "t", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- t -->\n\nnew\n\n<!-- /t -->\nb\n");
        assert_eq!(with(&new, "t", "new"), Some(new.clone()));
        assert_eq!(with(page, "other", ""), None);
    }
}
