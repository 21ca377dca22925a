//! Which repositories a rule is for.

use std::cmp::Ordering;
use std::fmt;

/// The name under which images are known that come from no registry.
pub const LOCAL: &str = "local";
/// No name of a repository is longer: a host name with its port, a slash, a path.
const MAX_LENGTH: usize = 600;
/// No pattern needs more wildcards for any number of segments.
const MAX_ANY: usize = 4;

/// A pattern for repositories: `registry.example.com/os/*`.
///
/// `*` stands for any characters but a slash, `**` as a whole segment for any number of segments, none
/// too. There is neither tag nor digest in it. The pattern `local`, and no other, is for images that
/// come from no registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
}

impl Pattern {
    /// Reads a pattern; the error says what is wrong.
    pub fn new(text: &str) -> Result<Self, String> {
        let known = |c: char| c.is_ascii_alphanumeric() || ".-_:[]/*".contains(c);
        if text.is_empty() || text.len() > MAX_LENGTH {
            return Err("a pattern has 1 to 600 characters".to_owned());
        }
        if text.contains('@') {
            return Err(format!(
                "{text:?} has a digest; a rule is for a whole repository"
            ));
        }
        if let Some(wrong) = text.chars().find(|c| !known(*c)) {
            return Err(format!("{wrong:?} cannot be in the name of a repository"));
        }
        let segments: Vec<&str> = text.split('/').collect();
        let (first, last) = (segments[0], segments[segments.len() - 1]);
        if segments.len() > 1 && last.contains(':') {
            return Err(format!(
                "{text:?} has a tag; a rule is for a whole repository"
            ));
        }
        if segments.iter().any(|segment| segment.is_empty()) {
            return Err(format!("{text:?} has an empty part"));
        }
        let mixed = |segment: &&&str| segment.contains("**") && **segment != "**";
        if let Some(segment) = segments.iter().find(mixed) {
            return Err(format!("{segment:?}: ** stands alone between slashes"));
        }
        if segments.iter().filter(|segment| **segment == "**").count() > MAX_ANY {
            return Err(format!("{text:?} has more than {MAX_ANY} times **"));
        }
        if segments.len() == 1 && first != LOCAL && first != "**" {
            return Err(format!(
                "{text:?} has no registry; Docker's own is docker.io/library/{text}"
            ));
        }
        Ok(Self { text: text.into() })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is for the repository `REGISTRY/NAME`, or for images without one ([`LOCAL`]).
    pub fn matches(&self, name: &str) -> bool {
        if self.text == LOCAL || name == LOCAL {
            return self.text == name;
        }
        let pattern: Vec<&str> = self.text.split('/').collect();
        let name: Vec<&str> = name.split('/').collect();
        segments_match(&pattern, &name)
    }

    /// How it compares with another that matches the same name: the more specific one is greater. The
    /// first segment in which they differ decides: a name before a name with `*`, before `*`, before
    /// `**`; of two names with `*` the longer one.
    pub fn specificity(&self, other: &Self) -> Ordering {
        let rank = |segment: &str| match segment {
            "**" => (0, 0),
            "*" => (1, 0),
            some if some.contains('*') => (2, some.len()),
            _ => (3, 0),
        };
        let ranks = |pattern: &Self| pattern.text.split('/').map(rank).collect::<Vec<_>>();
        ranks(self).cmp(&ranks(other))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn segments_match(pattern: &[&str], name: &[&str]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((&"**", rest)) => (0..=name.len()).any(|skip| segments_match(rest, &name[skip..])),
        Some((first, rest)) => match name.split_first() {
            Some((part, others)) => glob(first, part) && segments_match(rest, others),
            None => false,
        },
    }
}

/// Whether a text is what a pattern with `*` says: any characters.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// Whether a subject of a certificate is what a pattern says: `*` is any characters but a slash, `**`
/// any characters.
pub(crate) fn subject_matches(pattern: &str, subject: &str) -> bool {
    // Positions in the pattern that can be reached, for the text read so far.
    let tokens = tokens(pattern);
    let mut reached = vec![false; tokens.len() + 1];
    reached[0] = true;
    skip_wildcards(&tokens, &mut reached);
    for c in subject.chars() {
        let mut next = vec![false; tokens.len() + 1];
        for (at, token) in tokens.iter().enumerate() {
            if !reached[at] {
                continue;
            }
            match token {
                Token::Char(wanted) if *wanted == c => next[at + 1] = true,
                Token::Any => next[at] = true,
                Token::AnyButSlash if c != '/' => next[at] = true,
                Token::Char(_) | Token::AnyButSlash => {}
            }
        }
        reached = next;
        skip_wildcards(&tokens, &mut reached);
    }
    reached[tokens.len()]
}

#[derive(Clone, Copy)]
enum Token {
    Char(char),
    Any,
    AnyButSlash,
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        tokens.push(match c {
            '*' if characters.peek() == Some(&'*') => {
                characters.next();
                Token::Any
            }
            '*' => Token::AnyButSlash,
            c => Token::Char(c),
        });
    }
    tokens
}

/// A wildcard can stand for nothing.
fn skip_wildcards(tokens: &[Token], reached: &mut [bool]) {
    for (at, token) in tokens.iter().enumerate() {
        if reached[at] && matches!(token, Token::Any | Token::AnyButSlash) {
            reached[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(name)
    }

    #[test]
    fn patterns_match_by_segment() {
        for (pattern, name) in [
            ("r.example/os", "r.example/os"),
            ("r.example/*", "r.example/os"),
            ("r.example/os-*", "r.example/os-edge"),
            ("r.example/*-os-*", "r.example/my-os-edge"),
            ("r.example/**", "r.example/a/b/c"),
            ("r.example/a/**", "r.example/a"),
            ("**/os", "r.example/a/os"),
            ("**", "r.example/a"),
            ("r.example:5000/**", "r.example:5000/a"),
            ("[::1]:5000/os", "[::1]:5000/os"),
            ("*.example/os", "r.example/os"),
            ("local", "local"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("r.example/os", "r.example/os/more"),
            ("r.example/*", "r.example/a/b"),
            ("r.example/os-*", "r.example/os"),
            ("r.example/**", "r.example.evil/os"),
            ("r.example/**", "evil/r.example/os"),
            ("*/os", "a/b/os"),
            // What came from no registry is only meant where that is said.
            ("**", "local"),
            ("local", "r.example/local"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (text, wanted) in [
            ("", "1 to 600"),
            ("debian", "docker.io/library/debian"),
            ("r.example/os:1", "tag"),
            ("r.example/os@sha256:00", "digest"),
            ("r.example//os", "empty"),
            ("r.example/a**", "alone"),
            ("r.example/o s", "' '"),
            ("**/**/**/**/**/a", "more than 4"),
        ] {
            let error = Pattern::new(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn the_more_specific_pattern_is_greater() {
        let order = [
            "**",
            "**/os",
            "*/os",
            "r.*/os",
            "r.example/**",
            "r.example/*",
            "r.example/o*",
            "r.example/os",
        ];
        for pair in order.windows(2) {
            let [less, more] = [pair[0], pair[1]].map(|text| Pattern::new(text).unwrap());
            assert_eq!(more.specificity(&less), Ordering::Greater, "{pair:?}");
            assert_eq!(less.specificity(&more), Ordering::Less, "{pair:?}");
        }
    }

    #[test]
    fn subjects_match_with_and_without_slashes() {
        let workflow = "https://github.com/acme/os/.github/workflows/release.yaml@refs/tags/*";
        let at = |tag: &str| workflow.replace('*', tag);
        assert!(subject_matches(workflow, &at("v1.2.3")));
        assert!(!subject_matches(workflow, &at("v1/evil")));
        assert!(!subject_matches(
            workflow,
            &format!("{}x", at("v1")).replace("acme", "evil")
        ));
        assert!(subject_matches("a@**", "a@b/c"));
        assert!(subject_matches("me@example.com", "me@example.com"));
        assert!(!subject_matches("me@example.com", "me@example.com.evil"));
        assert!(!subject_matches("me@example.com", ""));
    }

    proptest! {
        #[test]
        fn a_subject_without_wildcards_is_only_itself(a in "[a-z/@.]{0,12}", b in "[a-z/@.]{0,12}") {
            prop_assert_eq!(subject_matches(&a, &b), a == b);
        }

        #[test]
        fn every_name_matches_itself_and_everything(name in "[a-z]{1,8}(/[a-z]{1,8}){1,4}") {
            prop_assert!(matches(&name, &name));
            prop_assert!(matches("**", &name));
        }
    }
}
